"""Every exception this package raises on purpose, in one tree.

    Qwen3RagError
    ├── ConfigurationError           a setting or an argument is missing, unknown or contradictory
    │   ├── MissingExtraError        an optional dependency is not installed
    │   └── DimensionError           an embedding dimension outside what the model offers
    ├── ModelError                   something about a model or what it computed
    │   ├── ModelNotFoundError       neither a local folder nor reachable on the hub
    │   ├── ModelFormatError         the folder holds no Qwen3 checkpoint that can be used here
    │   ├── NonFiniteError           the model produced NaN or infinity
    │   ├── ModelMemoryError         one text alone needs more memory than there is
    │   ├── OverloadedError          too many callers wait for the model
    │   └── RemoteError              an inference server
    │       ├── RemoteUnavailableError   it cannot be reached, or is not able to answer now
    │       └── RemoteResponseError      it refuses the request, or its answer cannot be used
    │           └── RequestRefusedError      it refuses this very request, and may take another
    ├── SourceError                  a document could not be read
    │   ├── UnsupportedFormatError   no reader knows this kind of file
    │   └── SourceUnavailableError   the file or folder itself cannot be reached
    ├── StoreError                   Qdrant, embedded or served
    │   ├── CollectionError          a collection is missing, exists already, or does not fit what was asked
    │   ├── StoreLockedError         another process holds the embedded store
    │   ├── StoreUnavailableError    the server cannot be reached
    │   ├── StoreFullError           the disk is full
    │   └── FilterError              a filter that cannot be expressed
    ├── EmbeddingSpaceError          vectors of another model, revision or dimension
    ├── CatalogError                 the database of what was ingested
    │   ├── CatalogVersionError      its tables are older or newer than this package
    │   └── WriterBusyError          another process is ingesting into the same collection
    ├── IngestionError               a run that could not go on
    │   └── MassDeletionError        a sync that would delete suspiciously much
    └── TrainingError                adapting a model could not go on
        ├── TrainingDataError        a file of pairs holds something that is none
        └── WorseModelError          the trained model is worse than the one it started from

A message says what happened, to what, and the command or setting that fixes it. Classes that stand for a bad argument are also
`ValueError`, so that callers who catch the standard type are served too.
"""

from __future__ import annotations


class Qwen3RagError(Exception):
    """Base of every error raised on purpose by this package."""


class ConfigurationError(Qwen3RagError, ValueError):
    """A setting or an argument is missing, unknown or contradictory."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency. Install it: pip install 'qwen3-rag[{extra}]'")
        self.extra = extra


class DimensionError(ConfigurationError):
    """An embedding dimension outside what the model offers."""


class ModelError(Qwen3RagError):
    """Something about a model or what it computed."""


class ModelNotFoundError(ModelError):
    """The model is neither a local folder nor reachable on the hub."""


class ModelFormatError(ModelError):
    """The folder holds no Qwen3 checkpoint that can be used for this purpose."""


class NonFiniteError(ModelError):
    """The model produced NaN or infinity."""


class ModelMemoryError(ModelError, MemoryError):
    """One text alone needs more memory than there is."""


class OverloadedError(ModelError):
    """Too many callers wait for the model; nothing was computed for this one."""


class RemoteError(ModelError):
    """An inference server could not do what was asked; nothing of its answer was used."""


class RemoteUnavailableError(RemoteError):
    """The inference server cannot be reached, or is not able to answer now, however often it was asked."""


class RemoteResponseError(RemoteError):
    """The inference server refuses the request, or its answer cannot be used."""


class RequestRefusedError(RemoteResponseError):
    """The inference server refuses this very request, such as one that is too long for it, and may take another. `reason` quotes it."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SourceError(Qwen3RagError):
    """A document could not be read."""


class UnsupportedFormatError(SourceError):
    """No reader knows this kind of file."""


class SourceUnavailableError(SourceError):
    """The file or folder itself cannot be reached."""


class StoreError(Qwen3RagError):
    """Qdrant, embedded or served, could not do what was asked."""


class CollectionError(StoreError, ValueError):
    """A collection is missing, exists already, or does not fit what was asked of it; nothing was changed."""


class StoreLockedError(StoreError):
    """Another process holds the embedded store."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class StoreUnavailableError(StoreError):
    """The Qdrant server cannot be reached."""


class StoreFullError(StoreError):
    """The disk that holds the store is full."""


class FilterError(StoreError, ValueError):
    """A filter that cannot be expressed."""


class EmbeddingSpaceError(Qwen3RagError):
    """Vectors of another model, revision, template or dimension: they do not compare."""


class CatalogError(Qwen3RagError):
    """The database of what was ingested could not do what was asked."""


class CatalogVersionError(CatalogError):
    """The catalog's tables are older or newer than this package."""


class WriterBusyError(CatalogError):
    """Another process is ingesting into or deleting from the same collection."""


class IngestionError(Qwen3RagError):
    """A run that could not go on."""


class MassDeletionError(IngestionError):
    """A sync that would delete suspiciously much; nothing was deleted."""


class TrainingError(Qwen3RagError):
    """Adapting a model could not go on."""


class TrainingDataError(TrainingError, ValueError):
    """A file of training pairs holds something that is none."""


class WorseModelError(TrainingError):
    """The trained model is worse than the one it started from; it was not exported."""
