"""A package of the npm registry, fetched over HTTPS and checked against the hash that it had when the recipe was written."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from qwen3_rag.errors import SourceUnavailableError

REGISTRY = "https://registry.npmjs.org"


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A version of a package; `sha256` is that of its archive."""

    name: str
    version: str
    sha256: str
    licence: str

    @property
    def address(self) -> str:
        """Where its archive is."""
        return f"{REGISTRY}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


def archive(package: NpmPackage, folder: Path) -> bytes:
    """The package's archive, from `folder` where it lies there already, else fetched and kept there.

    Raises:
        SourceUnavailableError: the registry cannot be reached, or gives something else than it did.
    """
    file = folder / f"{package.name.replace('/', '-')}-{package.version}.tgz"
    if not file.is_file():
        content = _fetched(package)
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(file)
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise SourceUnavailableError(f"{file} is not {package.name} {package.version} as the recipe knows it. Delete it and try again.")
    return content


def members(content: bytes, suffix: str) -> Iterator[tuple[str, str]]:
    """Path and text of each file of an archive that ends with `suffix`, in the order of the paths."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
        for name in sorted(opened.getnames()):
            file = opened.extractfile(name) if name.endswith(suffix) else None
            if file is not None:
                yield name, file.read().decode("utf-8", "replace")


def _fetched(package: NpmPackage) -> bytes:
    try:
        response = httpx.get(package.address, follow_redirects=True, timeout=60)
        response.raise_for_status()
    except httpx.HTTPError as error:
        reason = str(error).partition("\n")[0]
        raise SourceUnavailableError(f"{package.address} cannot be fetched: {reason}. The nano recipe needs the npm registry.") from error
    return response.content
