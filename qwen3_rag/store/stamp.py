"""What a collection says of the catalog that it belongs to and of the last run that came to its end.

The catalog knows its runs. Where the two do not agree, one of them was put back from a backup. The stamp is in the collection's own
metadata, so that it goes wherever the points go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import grpc  # type: ignore[import-untyped]
from qdrant_client.client_base import QdrantBase
from qdrant_client.http.exceptions import UnexpectedResponse

from qwen3_rag.errors import StoreError
from qwen3_rag.store.schema import METADATA_KEY

_FIELD = "written_by"
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Stamp:
    """A run of a catalog's collection; 0 before the first has ended."""

    catalog: str
    run: int = 0


def read_stamp(client: QdrantBase, collection: str) -> Stamp | None:
    """The stamp of a collection that exists; None where no run of a catalog has begun yet."""
    stored = (client.get_collection(collection).config.metadata or {}).get(METADATA_KEY, {}).get(_FIELD)
    return Stamp(str(stored["catalog"]), int(stored["run"])) if isinstance(stored, Mapping) else None


def write_stamp(client: QdrantBase, collection: str, stamp: Stamp) -> None:
    """Replace the stamp. Only the holder of the collection's writing lock may.

    A key that may write points but not change collections leaves a server's collection without one: each run then compares all points.
    """
    described = (client.get_collection(collection).config.metadata or {}).get(METADATA_KEY, {})
    try:
        client.update_collection(collection, metadata={METADATA_KEY: {**described, _FIELD: asdict(stamp)}})
    except (StoreError, UnexpectedResponse, grpc.RpcError) as error:
        if not _is_forbidden(error.__cause__ or error):
            raise


def _is_forbidden(error: BaseException) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code == _FORBIDDEN
    return isinstance(error, grpc.RpcError) and error.code() is grpc.StatusCode.PERMISSION_DENIED
