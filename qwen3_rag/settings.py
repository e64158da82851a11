"""The only place that reads the environment or a TOML file.

`Settings` is flat, so that an environment variable, a TOML key, a command-line option and a keyword share one word:
`QWEN3_RAG_TOP_K`, `top_k = …`, `--top-k`, `Settings(top_k=…)`. Each room takes its own small frozen part of it (`settings.store`,
`settings.chunking`, …) and never the whole. Order of precedence: arguments, environment, `qwen3-rag.toml` in the working folder,
defaults. A name that is no setting is refused in each of them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError, TomlConfigSettingsSource

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.types import Fusion, Mode

DEFAULT_EMBEDDER = "Qwen/Qwen3-Embedding-0.6B"
DEFAULT_RERANKER = "Qwen/Qwen3-Reranker-0.6B"
NANO = "nano"
CUT = ("chunk_tokens", "chunk_overlap", "language")
"""Settings that a knowledge base remembers besides its models."""
TOML_FILE = "qwen3-rag.toml"
CATALOG_FILE = "catalog.db"
MEMORY = ":memory:"
"""As the folder of a knowledge base: nothing is kept. For tests."""

PREFIX = "QWEN3_RAG_"
LANGUAGE_CODE = re.compile("[A-Za-z]{2,3}([-_].+)?")
"""ISO 639-1, with a region if need be."""
_OF_OTHERS = re.compile(r"TEST_.+|(.+_)?SERVICE_(HOST|PORT(_.+)?)|(.+_)?PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?")
"""What follows the prefix in variables that are no settings: what tests are told, and what Kubernetes tells of services whose names begin
with `qwen3-rag`."""


class Quantization(StrEnum):
    """How the store compresses dense vectors for search."""

    INT8 = "int8"
    BINARY = "binary"
    NONE = "none"


class Canary(StrEnum):
    """What the check at first use does when the server is not as it must be."""

    STRICT = "strict"
    """Raise an error."""
    WARN = "warn"
    """Log a warning and go on."""
    OFF = "off"
    """Nothing is judged. The first request still goes out: its answer tells the width of the vectors and the dialect."""


class Dialect(StrEnum):
    """How a server is asked to rerank."""

    RERANK = "rerank"
    """`/v1/rerank` with `query` and `documents`: vLLM, SGLang, Jina, Cohere, llama.cpp."""
    TEI = "tei"
    """`/rerank` with `query` and `texts`: Text Embeddings Inference."""
    SCORE = "score"
    """`/score` with `text_1` and `text_2`: vLLM."""
    DASHSCOPE = "dashscope"
    """`/reranks` with `query`, `documents` and `instruct`: DashScope's compatible API, whose service has the template."""


def without_user(address: str) -> str:
    """An address as messages may show it, without user and password; also one that is wrong."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)?.*@", r"\1", address, flags=re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the vectors are and how they are kept. `path` is the folder of the embedded engine, or `":memory:"`; `url` wins over it.

    `quantization` and `on_disk` are None where an existing collection is to stay as it is; a new one then gets int8, in memory.
    """

    path: str = ":memory:"
    url: str | None = field(default=None, repr=False)
    api_key: SecretStr | None = None
    prefer_grpc: bool = False
    timeout: float = 30.0
    collection: str = "documents"
    quantization: Quantization | None = None
    on_disk: bool | None = None

    @property
    def place(self) -> str:
        """What messages call it: the server's address without user and password, or the folder."""
        return without_user(self.url) if self.url else self.path


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Inference servers for the embedder and the reranker; without a URL, that model runs in this process."""

    embedder_url: str | None = field(default=None, repr=False)
    reranker_url: str | None = field(default=None, repr=False)
    api_key: SecretStr | None = None
    timeout: float = 60.0
    embedder_tokenizer: str | None = None
    reranker_tokenizer: str | None = None
    embedder_revision: str | None = None
    embedder_max_tokens: int | None = None
    reranker_max_tokens: int | None = None
    reranker_dialect: Dialect | None = None
    canary: Canary = Canary.STRICT


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """Where the catalog is: any SQLAlchemy URL of SQLite or PostgreSQL. It may hold a password, so it is not shown."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChunkingSettings:
    """Sizes in the embedder's own tokens, of text and context line together."""

    tokens: int = 512
    overlap: int = 0


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Which files of a folder are documents, and the size in bytes past which a file is refused."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class IngestionSettings:
    """Readers, the bound of the queues, chunks per embedding batch, and the share of documents a sync may delete unasked."""

    workers: int = 4
    queue_size: int = 256
    batch_chunks: int = 128
    max_delete_share: float = 0.5


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """Defaults of a search; each can be given per call."""

    mode: Mode = Mode.HYBRID
    fusion: Fusion = Fusion.COMPLETED
    top_k: int = 10
    candidates: int | None = None
    dense_weight: float = 0.5
    rrf_k: int = 60
    recall_threshold: float | None = None
    rerank_weight: float = 1.0
    rerank_threshold: float | None = None
    rerank_deadline: float | None = None


class Settings(BaseSettings):
    """All settings, flat. Every field can be given as `QWEN3_RAG_<NAME>` or in `qwen3-rag.toml`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, toml_file=TOML_FILE)

    kb: Path = Field(Path("kb"), description="Folder of the knowledge base: catalog and embedded store.")

    embedder: str | None = Field(None, description="Hub id, local folder or `nano`. Unset: what the knowledge base was made with.")
    reranker: str | None = Field(None, description="Hub id, local folder or `off`. Unset: the one that goes with the embedder.")
    dim: int | None = Field(None, ge=1, description="Embedding dimension. Unset: the model's own.")
    dtype: str = Field("auto", description="auto, float32, bfloat16 or float16. auto: bfloat16 where it is native.")
    device: str = Field("auto", description="auto, cpu, cuda, mps, …")
    model_quantization: str = Field("none", description="none, or int8 for models on the CPU.")
    instruction: str | None = Field(None, description="Task for queries, in English. Unset: the paper's web search task.")

    embedder_url: str | None = Field(None, repr=False, description="Inference server of the embedder. Unset: it runs in this process.")
    reranker_url: str | None = Field(None, repr=False, description="Inference server of the reranker. Unset: it runs in this process.")
    inference_api_key: SecretStr | None = Field(None, description="API key of the inference servers.")
    inference_timeout: float = Field(60.0, gt=0, description="Seconds an inference server may take to connect or to go on answering.")
    embedder_tokenizer: str | None = Field(None, description="Hub id or folder of a remote embedder's tokenizer. Unset: that of its name.")
    reranker_tokenizer: str | None = Field(None, description="Hub id or folder of a remote reranker's tokenizer. Unset: that of its name.")
    embedder_revision: str | None = Field(None, description="Weights of a remote embedder, where it is to compare with local vectors.")
    embedder_max_tokens: int | None = Field(None, ge=1, description="Longest input that a remote embedder takes. Unset: 32768.")
    reranker_max_tokens: int | None = Field(None, ge=1, description="Longest prompt that a remote reranker takes. Unset: 32768.")
    reranker_dialect: Dialect | None = Field(
        None, description="rerank, tei, score or dashscope: how a remote reranker is asked. Unset: found out."
    )
    inference_canary: Canary = Field(
        Canary.STRICT, description="strict, warn or off: what the check of an inference server at first use does about faults."
    )

    url: str | None = Field(None, repr=False, description="Qdrant server. Unset: the embedded engine in the knowledge base's folder.")
    api_key: SecretStr | None = Field(None, description="API key of the Qdrant server.")
    prefer_grpc: bool = Field(False, description="Use gRPC with the Qdrant server.")
    timeout: float = Field(30.0, gt=0, description="Seconds one request to the Qdrant server may take.")
    collection: str = Field("documents", min_length=1, description="Name of the collection.")
    quantization: Quantization = Field(
        Quantization.INT8, description="int8, binary or none, of the vectors that are searched. Unset: what the collection has."
    )
    on_disk: bool = Field(False, description="Keep original vectors on disk instead of in memory. Unset: as the collection has it.")

    database_url: str | None = Field(None, repr=False, description="Catalog database. Unset: SQLite in the knowledge base's folder.")

    chunk_tokens: int = Field(512, ge=16, description="Most tokens of a chunk, its context line included.")
    chunk_overlap: int = Field(0, ge=0, description="Tokens shared by neighbouring chunks.")
    language: str | None = Field(
        None, pattern=f"^{LANGUAGE_CODE.pattern}$", description="ISO 639-1 code of all documents, such as de. Unset: detected."
    )
    include: Annotated[tuple[str, ...], Field((), description="Globs of files to ingest. Unset: every readable format.")]
    exclude: Annotated[tuple[str, ...], Field((), description="Globs of files to leave out.")]
    max_bytes: int = Field(32 * 1024 * 1024, ge=1, description="Larger files are refused.")

    workers: int = Field(4, ge=1, description="Files read at the same time.")
    max_delete_share: float = Field(
        0.5, ge=0, le=1, description="A sync that would delete more than this share, and ten documents at least, stops instead; 0: any."
    )

    mode: Mode = Field(Mode.HYBRID, description="hybrid, dense or lexical.")
    fusion: Fusion = Field(Fusion.COMPLETED, description="completed, rrf or dbsf.")
    top_k: int = Field(10, ge=1, description="Hits returned.")
    candidates: int | None = Field(None, ge=1, description="Recall depth. Unset: several times top_k.")
    dense_weight: float = Field(
        0.5, ge=0, le=1, description="Weight of the dense score in completed fusion; the lexical score has the rest."
    )
    rrf_k: int = Field(60, ge=1, description="Constant of reciprocal rank fusion.")
    recall_threshold: float | None = Field(None, description="Least dense or fused score of a candidate.")
    rerank_weight: float = Field(1.0, ge=0, le=1, description="Weight of the reranker's score in the order; that of recall has the rest.")
    rerank_threshold: float | None = Field(None, description="Least reranker score of a hit.")
    rerank_deadline: float | None = Field(None, gt=0, description="Seconds reranking may take.")

    @classmethod
    def load(cls, **values: Any) -> Settings:
        """Settings from arguments, environment and TOML.

        Raises:
            ConfigurationError: naming each setting or variable that is unknown or out of range, or saying why the TOML file cannot be read.
        """
        _check_variables()
        try:
            return cls(**{name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            faults = "; ".join(_fault(".".join(map(str, item["loc"])) or "settings", item["type"], item["msg"]) for item in error.errors())
            raise ConfigurationError(
                f"Settings are not valid: {faults}. Correct them where they were given: as an argument or option, as QWEN3_RAG_<NAME>, "
                f"or in {Path(TOML_FILE).absolute()}. Known settings: {', '.join(cls.model_fields)}"
            ) from None
        except SettingsError as error:
            raise ConfigurationError(f"{error}. In the environment a list is written as JSON: QWEN3_RAG_INCLUDE='[\"*.md\"]'") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigurationError(
                f'{Path(TOML_FILE).absolute()} cannot be read: {error}. Mend it, or take it away. A line looks like this: embedder = "nano"'
            ) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then TOML."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def store(self) -> StoreSettings:
        """The part that `store/` takes."""
        return StoreSettings(
            path=MEMORY if str(self.kb) == MEMORY else str((self.kb / "store").expanduser()),
            url=self.url,
            api_key=self.api_key,
            prefer_grpc=self.prefer_grpc,
            timeout=self.timeout,
            collection=self.collection,
            quantization=self.quantization if "quantization" in self.model_fields_set else None,
            on_disk=self.on_disk if "on_disk" in self.model_fields_set else None,
        )

    @property
    def remote(self) -> RemoteSettings:
        """The part that `models/` takes."""
        return RemoteSettings(
            embedder_url=self.embedder_url,
            reranker_url=self.reranker_url,
            api_key=self.inference_api_key,
            timeout=self.inference_timeout,
            embedder_tokenizer=self.embedder_tokenizer,
            reranker_tokenizer=self.reranker_tokenizer,
            embedder_revision=self.embedder_revision,
            embedder_max_tokens=self.embedder_max_tokens,
            reranker_max_tokens=self.reranker_max_tokens,
            reranker_dialect=self.reranker_dialect,
            canary=self.inference_canary,
        )

    @property
    def catalog(self) -> CatalogSettings:
        """The part that `catalog/` takes."""
        return CatalogSettings(self.database_url or self._sqlite_url())

    def _sqlite_url(self) -> str:
        """The URL of the catalog's file, whatever characters its path holds."""
        from sqlalchemy import URL

        file = None if str(self.kb) == MEMORY else str((self.kb / CATALOG_FILE).expanduser().resolve())
        return URL.create("sqlite", database=file).render_as_string()

    @property
    def chunking(self) -> ChunkingSettings:
        """The part that `chunking/` takes."""
        return ChunkingSettings(self.chunk_tokens, self.chunk_overlap)

    @property
    def cut(self) -> str:
        """The settings that decide how documents are cut and analysed, as the catalog keeps them."""
        return json.dumps({name: getattr(self, name) for name in CUT})

    def with_cut(self, kept: str | None) -> Settings:
        """What was not given now is as it was `kept`: a forgotten option must not have every document cut anew."""
        remembered = json.loads(kept) if kept else {}
        return self.model_copy(update={name: value for name, value in remembered.items() if name not in self.model_fields_set})

    @property
    def sources(self) -> SourceSettings:
        """The part that `sources/` takes."""
        return SourceSettings(self.include, self.exclude, self.max_bytes)

    @property
    def ingestion(self) -> IngestionSettings:
        """The part that `ingestion/` takes."""
        return IngestionSettings(workers=self.workers, max_delete_share=self.max_delete_share)

    @property
    def retrieval(self) -> RetrievalSettings:
        """The part that `retrieval/` takes."""
        return RetrievalSettings(
            mode=self.mode,
            fusion=self.fusion,
            top_k=self.top_k,
            candidates=self.candidates,
            dense_weight=self.dense_weight,
            rrf_k=self.rrf_k,
            recall_threshold=self.recall_threshold,
            rerank_weight=self.rerank_weight,
            rerank_threshold=self.rerank_threshold,
            rerank_deadline=self.rerank_deadline,
        )


def _check_variables() -> None:
    """Pydantic reads the variables that it knows, and passes over one that is misspelt."""
    given = {name: name[len(PREFIX) :] for name, value in os.environ.items() if value and name.upper().startswith(PREFIX)}
    unknown = {
        name: rest for name, rest in given.items() if rest.lower() not in Settings.model_fields and not _OF_OTHERS.fullmatch(rest.upper())
    }
    if unknown:
        faults = "; ".join(f"{name} is not a setting{_near(rest.lower(), PREFIX)}" for name, rest in unknown.items())
        raise ConfigurationError(
            f"Settings are not valid: {faults}. Correct the name in the environment, or unset it. "
            f"Known settings: {', '.join(Settings.model_fields)}"
        )


def _fault(name: str, kind: str, message: str) -> str:
    if kind != "extra_forbidden":
        return f"{name}: {message}"
    return f"{name} is not a setting{_near(name)}"


def _near(name: str, prefix: str = "") -> str:
    """The setting that was perhaps meant, in brackets; written as a variable where there is a prefix."""
    near = difflib.get_close_matches(name, Settings.model_fields, 1)
    return "".join(f" (did you mean {prefix + setting.upper() if prefix else setting}?)" for setting in near)
