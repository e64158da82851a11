"""The part of the embedded client that creates, describes and removes collections, aliases, payload indexes and vector names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models
from qdrant_client.conversions import common_types as types
from qdrant_client.local.local_collection import to_jsonable_python

from qwen3_rag.errors import CollectionError
from qwen3_rag.store.edge import results
from qwen3_rag.store.edge.collection import Collection
from qwen3_rag.store.edge.description import collection_info
from qwen3_rag.store.edge.facts import dense_vectors
from qwen3_rag.store.edge.handle import Handle
from qwen3_rag.store.edge.requests import plain

_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')
_LONGEST_NAME = 255
_LARGEST_VECTOR = 65_536
_CONFIG_PARTS = ("hnsw_config", "optimizers_config", "quantization_config", "on_disk_payload", "payload", "id_tracker")


class Administration(Handle):
    """Collections and what belongs to them as a whole."""

    def create_collection(
        self,
        collection_name: str,
        vectors_config: types.VectorParams | Mapping[str, types.VectorParams] | None = None,
        sparse_vectors_config: Mapping[str, types.SparseVectorParams] | None = None,
        metadata: types.Payload | None = None,
        **kwargs: Any,
    ) -> bool:
        """Adds an empty collection. Settings of a cluster (shards, replicas, timeouts) are accepted and mean nothing here.

        Raises:
            CollectionError: the name is taken or not allowed, or the configuration makes no sense.
        """
        _check_name(collection_name, "Collection")
        request = models.CreateCollection(
            vectors=vectors_config or {},  # type: ignore[arg-type]
            sparse_vectors=sparse_vectors_config,  # type: ignore[arg-type]
            metadata=to_jsonable_python(metadata),
            **{name: kwargs[name] for name in _CONFIG_PARTS if kwargs.get(name) is not None},
        )
        config = plain(request)
        for name, params in dense_vectors(config).items():
            if name:
                _check_name(name, "Vector")
            if not 1 <= params["size"] <= _LARGEST_VECTOR:
                raise CollectionError(f"Vector size {params['size']} is invalid. Must be from 1 to {_LARGEST_VECTOR}.")
        for name in config.get("sparse_vectors") or {}:
            _check_name(name, "Sparse vector")
        self._open().create(collection_name, config)
        return True

    def recreate_collection(
        self,
        collection_name: str,
        vectors_config: types.VectorParams | Mapping[str, types.VectorParams] | None = None,
        **kwargs: Any,
    ) -> bool:
        """Removes the collection if there is one, then creates it."""
        self.delete_collection(collection_name)
        return self.create_collection(collection_name, vectors_config, **kwargs)

    def delete_collection(self, collection_name: str, **kwargs: Any) -> bool:
        """Removes a collection, its points and its aliases; False when there is none."""
        return self._open().delete(collection_name)

    def collection_exists(self, collection_name: str, **kwargs: Any) -> bool:
        """Whether there is a collection or alias of this name."""
        return self._open().find(collection_name) is not None

    def get_collections(self, **kwargs: Any) -> types.CollectionsResponse:
        """The names of all collections."""
        names = [models.CollectionDescription(name=collection.name) for collection in self._open().collections()]
        return models.CollectionsResponse(collections=names)

    def get_collection(self, collection_name: str, **kwargs: Any) -> types.CollectionInfo:
        """Configuration, metadata and counts. `status` is yellow while an index is being built or due."""
        collection = self._collection(collection_name)
        counts = collection.call("info")
        return collection_info(collection.config, counts, indexing=self._open().upkeep.is_due(collection))

    def update_collection(
        self,
        collection_name: str,
        metadata: types.Payload | None = None,
        vectors_config: types.VectorsConfigDiff | None = None,
        sparse_vectors_config: Mapping[str, types.SparseVectorParams] | None = None,
        **kwargs: Any,
    ) -> bool:
        """Merges metadata and settings into a collection's own. New index settings take effect with the next index that is built."""
        store, collection = self._open(), self._collection(collection_name)
        changes = {name: plain(kwargs.get(name)) for name in ("hnsw_config", "optimizers_config", "quantization_config")}
        structural = any(changes.values()) or bool(vectors_config) or bool(sparse_vectors_config)
        if structural:
            store.upkeep.cancel(collection)
        with collection.writing:
            config = dict(collection.config)
            if metadata is not None:
                merged = {**(config.get("metadata") or {}), **to_jsonable_python(metadata)}
                config["metadata"] = {name: value for name, value in merged.items() if value is not None}
            for name, change in changes.items():
                _merge(config, name, change)
            _merge_vectors(config, plain(vectors_config) or {}, plain(sparse_vectors_config) or {})
            collection.save_config(config, restart=structural)
            if structural:
                collection.activity.unindexed = collection.activity.points or 0
        store.upkeep.wake()
        return True

    def update_collection_aliases(self, change_aliases_operations: Sequence[types.AliasOperations], **kwargs: Any) -> bool:
        """Creates, renames and deletes aliases: all of them at once, or none.

        Raises:
            CollectionError: a collection or alias is missing, or a name is taken.
        """

        def change(aliases: dict[str, str], collections: Mapping[str, Collection]) -> None:
            for operation in change_aliases_operations:
                _change_alias(operation, aliases, collections)

        self._open().change_aliases(change)
        return True

    def get_aliases(self, **kwargs: Any) -> types.CollectionsAliasesResponse:
        """All aliases and the collections that they stand for."""
        pairs = self._open().aliases().items()
        aliases = [models.AliasDescription(alias_name=alias, collection_name=name) for alias, name in pairs]
        return models.CollectionsAliasesResponse(aliases=aliases)

    def get_collection_aliases(self, collection_name: str, **kwargs: Any) -> types.CollectionsAliasesResponse:
        """The aliases of one collection."""
        aliases = [alias for alias in self.get_aliases().aliases if alias.collection_name == collection_name]
        return models.CollectionsAliasesResponse(aliases=aliases)

    def create_payload_index(
        self,
        collection_name: str,
        field_name: str,
        field_schema: types.PayloadSchemaType | None = None,
        field_type: types.PayloadSchemaType | None = None,
        **kwargs: Any,
    ) -> types.UpdateResult:
        """Indexes a payload field; `field_schema` is a type or its parameters."""
        schema = plain(field_schema if field_schema is not None else field_type)
        if schema is None:
            raise CollectionError(f"Payload field {field_name!r} needs a `field_schema`, for example PayloadSchemaType.KEYWORD.")
        schema = schema if isinstance(schema, dict) else str(getattr(schema, "value", schema))
        self._collection(collection_name).update({"op": "create_index", "field": field_name, "schema": schema}, changed=0)
        return results.completed()

    def delete_payload_index(self, collection_name: str, field_name: str, **kwargs: Any) -> types.UpdateResult:
        """Removes the index of a payload field."""
        self._collection(collection_name).update({"op": "delete_index", "field": field_name}, changed=0)
        return results.completed()

    def create_vector_name(
        self, collection_name: str, vector_name: str, vector_name_config: types.VectorNameConfig, **kwargs: Any
    ) -> types.UpdateResult:
        """Adds a named vector to a collection; its points have none of it at first."""
        _check_name(vector_name, "Vector")
        sparse = isinstance(vector_name_config, models.SparseVectorNameConfig)
        kind = "sparse_vectors" if sparse else "vectors"
        params = plain(vector_name_config.sparse if sparse else vector_name_config.dense)  # type: ignore[union-attr]
        store, collection = self._open(), self._collection(collection_name)
        store.upkeep.cancel(collection)
        with collection.writing:
            vectors = collection.config.get("sparse_vectors") or {} if sparse else dense_vectors(collection.config)
            if vector_name in vectors:
                raise CollectionError(f"Vector {vector_name!r} already exists in {collection_name!r}.")
            collection.update({"op": "create_vector", "name": vector_name, "sparse": sparse, "params": params}, changed=0)
            collection.save_config({**collection.config, kind: {**vectors, vector_name: params}})
        return results.completed()

    def delete_vector_name(self, collection_name: str, vector_name: str, **kwargs: Any) -> types.UpdateResult:
        """Removes a named vector from a collection and all its points."""
        store, collection = self._open(), self._collection(collection_name)
        store.upkeep.cancel(collection)
        with collection.writing:
            dense, sparse = dense_vectors(collection.config), dict(collection.config.get("sparse_vectors") or {})
            if vector_name not in dense and vector_name not in sparse:
                raise CollectionError(f"Collection {collection_name!r} has no vector {vector_name!r}.")
            collection.update({"op": "delete_vector", "name": vector_name}, changed=0)
            dense.pop(vector_name, None)
            sparse.pop(vector_name, None)
            collection.save_config({**collection.config, "vectors": dense, "sparse_vectors": sparse})
        return results.completed()


def _check_name(name: str, what: str) -> None:
    bad = sorted(_FORBIDDEN.intersection(name))
    if bad:
        raise CollectionError(f"{what} name {name!r} cannot contain {bad[0]!r}.")
    if name in ("", ".", "..") or len(name) > _LONGEST_NAME:
        raise CollectionError(f"{what} name {name!r} is not allowed: 1 to {_LONGEST_NAME} characters, not '.' or '..'.")


def _merge(config: dict[str, Any], name: str, change: Any) -> None:
    """Merges one part; `"Disabled"` removes it, and another kind of quantization replaces the former."""
    if change == "Disabled":
        config.pop(name, None)
    elif change:
        config[name] = dict(change) if name == "quantization_config" else {**(config.get(name) or {}), **change}


def _merge_vectors(config: dict[str, Any], dense: Mapping[str, Any], sparse: Mapping[str, Any]) -> None:
    own_dense, own_sparse = dense_vectors(config), dict(config.get("sparse_vectors") or {})
    for own, changes in ((own_dense, dense), (own_sparse, sparse)):
        for name, change in changes.items():
            if name not in own:
                raise CollectionError(f"Wrong input: Not existing vector name error: {name}")
            params = dict(own[name])
            for part, value in change.items():
                _merge(params, part, value) if isinstance(value, dict) or value == "Disabled" else params.update({part: value})
            own[name] = params
    if dense:
        config["vectors"] = own_dense[""] if set(own_dense) == {""} else own_dense
    if sparse:
        config["sparse_vectors"] = own_sparse


def _change_alias(operation: types.AliasOperations, aliases: dict[str, str], collections: Mapping[str, Collection]) -> None:
    if isinstance(operation, models.CreateAliasOperation):
        name, alias = operation.create_alias.collection_name, operation.create_alias.alias_name
        if name not in collections:
            raise CollectionError(f"Collection {name!r} not found")
        if alias in collections:
            raise CollectionError(f"Collection {alias!r} already exists")
        aliases[alias] = name
    elif isinstance(operation, models.DeleteAliasOperation):
        aliases.pop(operation.delete_alias.alias_name, None)
    elif isinstance(operation, models.RenameAliasOperation):
        old, new = operation.rename_alias.old_alias_name, operation.rename_alias.new_alias_name
        if new in collections:
            raise CollectionError(f"Collection {new!r} already exists")
        if old not in aliases:
            raise CollectionError(f"Alias {old!r} does not exist")
        aliases[new] = aliases.pop(old)
    else:
        raise CollectionError(f"Unknown operation on aliases: {operation!r}")
