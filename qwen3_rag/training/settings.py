"""What each training verb can be told, as one frozen value object a verb, read from one TOML file.

    [embedder]              # what all runs of the verb share
    model = "nano"
    pairs = ["pairs.jsonl"]

    [embedder.weak]         # what is different in the run that is asked for as the stage "weak"
    output = "runs/weak"

Options of the command line win over the stage, the stage over the verb's table, that over the defaults; a stage that is not asked for does
not count. What is not known by its name is refused, wherever it stands. It does not import torch.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.types import Mode

TRAIN_TOML = "train.toml"
TABLES = ("synthesize", "server", "filter", "mine", "embedder", "reranker", "merge", "export")
"""What a settings file is made of."""
WITHOUT_STAGES = frozenset(("server", "filter"))
"""Tables that no verb is named after: `synthesize` reads them beside its own."""
T = TypeVar("T")

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
STRICT = ConfigDict(extra="forbid")


def _without_number(device: str) -> str:
    name, colon, number = device.partition(":")
    if colon:
        raise PydanticCustomError(
            "device",
            "a process trains on the first GPU that it sees. Show it the one that is meant, CUDA_VISIBLE_DEVICES={number}, "
            "and give device = '{name}'",
            {"number": number, "name": name},
        )
    return device


class Schedule(StrEnum):
    """What becomes of the learning rate after the warm-up."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant_with_warmup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What both trainers take.

    Attributes:
        model: what is trained: a hub id, a folder, or nano.
        pairs: files of training pairs.
        output: folder of the run: checkpoints, log, and the trained model in `model`.
        dev: files of pairs to judge by; without them, `dev_share` of the documents of `pairs` are kept back.
        general: folders in BEIR form that the model must not become worse on.
        leaks: whether pairs that `dev` or `general` already hold are taken out of the training.
        epochs, max_steps: how often each pair is drawn, and an earlier end.
        batch_size: pairs of one step, of all processes together.
        negatives: hard negatives drawn for a pair.
        by_source: batches of one task and source each.
        sources_per_batch: with `by_source`, how many share a batch, with as many pairs each.
        rates: what the learning rate is multiplied by for weights whose name has this in it, such as `embed_tokens` or `layers.1.`, the
            first that fits; 0 leaves them as they are.
        beta2: how slowly AdamW forgets the size of gradients; where tokens are rare and learn fast, 0.999 moves them too far.
        warmup: share of the steps in which the learning rate rises.
        clip: longest gradient; 0 cuts none.
        lora_rank: 0 trains all weights, more trains low-rank adapters only; lora_alpha is twice the rank unless given.
        gradient_checkpointing: compute activations again instead of keeping them.
        part_tokens: tokens whose activations are in memory at a time.
        max_tokens: longest text, in tokens with its template.
        compiled: make few loops of what a layer computes besides matrix products (torch.compile; on a CPU it needs a C++ compiler).
        dtype: auto, float32 or bfloat16.
        device: auto, cpu, cuda or mps, without a number: which GPU is chosen by CUDA_VISIBLE_DEVICES.
        log_every, evaluate_every, save_every: steps.
    """

    model: str
    pairs: Annotated[tuple[Path, ...], Field(min_length=1)]
    output: Path
    dev: tuple[Path, ...] = ()
    dev_share: Share = 0.05
    general: tuple[Path, ...] = ()
    leaks: bool = True
    epochs: Count = 1
    max_steps: Count | None = None
    batch_size: Count = 32
    negatives: Annotated[int, Field(ge=0)] = 4
    by_source: bool = False
    sources_per_batch: Count = 1
    learning_rate: Positive = 1e-5
    rates: Mapping[str, Weight] = field(default_factory=dict)
    weight_decay: Weight = 0.01
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    warmup: Share = 0.1
    schedule: Schedule = Schedule.LINEAR
    clip: Weight = 1.0
    lora_rank: Annotated[int, Field(ge=0)] = 0
    lora_alpha: Count | None = None
    lora_dropout: Share = 0.0
    gradient_checkpointing: bool = False
    part_tokens: Count = 16_384
    max_tokens: Count = 512
    compiled: bool = False
    dtype: str = "auto"
    device: Annotated[str, AfterValidator(_without_number)] = "auto"
    seed: int = 0
    log_every: Count = 10
    evaluate_every: Count = 100
    save_every: Count = 100

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderTraining(Training):
    """`[embedder]`.

    Attributes:
        temperature, margin: of the contrastive loss.
        dims: prefixes of the vectors that are trained, with their weights; without them, the whole and its halves down to 32, alike.
        contrastive_weight, distillation_weight: of the two terms.
        distillation_temperature, direct_weight: of `vector_distillation_loss`.
        teacher: the model that is followed: a hub id, a folder, or nano.
        teacher_texts, teacher_vectors: or its vectors: a file with one JSON string a line, and a .npy file with one row a line.
        teacher_similarities: another such .npy file, whose rows' similarities within a batch are followed in place of those of the vectors.
    """

    temperature: Positive = 0.05
    margin: float = 0.1
    dims: tuple[Count, ...] = ()
    dim_weights: tuple[Weight, ...] = ()
    contrastive_weight: Weight = 1.0
    distillation_weight: Weight = 0.0
    distillation_temperature: Positive = 0.05
    direct_weight: Weight = 5.0
    teacher: str | None = None
    teacher_texts: Path | None = None
    teacher_vectors: Path | None = None
    teacher_similarities: Path | None = None

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerTraining(Training):
    """`[reranker]`.

    Attributes:
        answer_weight: of the likelihood of yes and no.
        distillation_weight, distillation_temperature: of the teacher's scores, which pairs hold under `scores`.
        recall: the embedder whose best candidates are reranked where the reranker is judged.
        candidates: how many of them.
    """

    answer_weight: Weight = 1.0
    distillation_weight: Weight = 0.0
    distillation_temperature: Positive = 1.0
    recall: str = "nano"
    candidates: Count = 20

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """`[merge]`.

    Attributes:
        checkpoints: trained models of one origin, and where that helps the origin itself; folders or names of models.
        output: folder of the result.
        weights: how much each counts; alike unless given.
    """

    checkpoints: Annotated[tuple[Path, ...], Field(min_length=2)]
    output: Path
    weights: tuple[Positive, ...] = ()

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """`[export]`.

    Attributes:
        checkpoint: the trained or merged model.
        output: folder that is written; it must not exist.
        base: what it is compared with; unless given, the model before its first stage.
        dev, general: what both are judged by; unless given, those of the training.
        general_loss: how much nDCG@10 it may lose on each general set.
        name: of the model, in its card.
        licence, data: of the model and of what it was trained on, for its card.
    """

    checkpoint: Path
    output: Path
    base: str | None = None
    dev: tuple[Path, ...] = ()
    general: tuple[Path, ...] = ()
    general_loss: Weight = 0.01
    name: str | None = None
    licence: str | None = None
    data: str | None = None

    __pydantic_config__ = STRICT


class Sampling(StrEnum):
    """Which of the candidates that may be negatives are taken."""

    HARDEST = "hardest"
    RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSettings:
    """`[mine]`.

    Attributes:
        pairs: files of pairs.
        kb: folder of the knowledge base to search. One of `kb` and `passages` is given.
        passages: JSON Lines with `text`, searched exactly with `embedder`.
        output: the pairs with their negatives.
        embedder: for `passages`; None takes the default model.
        reranker: scores candidates and positive instead of the cosine; None leaves it to the cosine.
        mode: how the knowledge base is searched, hybrid or dense.
        negatives: most of them for each pair, those that it has already included.
        first_rank: the window's first rank, 1 is the best hit.
        last_rank: its last rank.
        relative: a negative's score is at most this share of the positive's; None sets no such limit.
        absolute: and at least so much below it; None sets no such limit.
        sampling: hardest, or random within the window and the margins.
        seed: of random sampling.
    """

    pairs: tuple[Path, ...] = ()
    kb: Path | None = None
    passages: Path | None = None
    output: Path = Path("mined.jsonl")
    embedder: str | None = None
    reranker: str | None = None
    mode: Mode = Mode.HYBRID
    negatives: Count = 7
    first_rank: Count = 10
    last_rank: Count = 100
    relative: Annotated[float, Field(gt=0, le=1)] | None = 0.95
    absolute: Weight | None = None
    sampling: Sampling = Sampling.RANDOM
    seed: int = 0

    __pydantic_config__ = STRICT

    def limit(self, positive: float) -> float:
        """The highest score of a negative beside a positive of this score."""
        limits = [positive]
        if self.relative is not None:
            limits.append(positive - (1 - self.relative) * abs(positive))
        if self.absolute is not None:
            limits.append(positive - self.absolute)
        return min(limits) if len(limits) > 1 else float("inf")


def read_settings(kind: type[T], table: str, path: Path | None, stage: str | None, options: Mapping[str, Any]) -> T:
    """Settings of one verb.

    Args:
        kind: its value object.
        table: its table in the file.
        path: the file; None reads `train.toml` where there is one.
        stage: a table within its table, whose values win.
        options: what the command line gave; None is not given.

    Raises:
        ConfigurationError: the file cannot be read, or a setting is unknown, missing or out of range.
    """
    file = path or Path(TRAIN_TOML)
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    stages: list[str] = []
    if path is not None or stage is not None or file.is_file():
        values, stages = _table(file, table, stage, known)
    values |= {name: value for name, value in options.items() if value is not None}
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = [_fault(".".join(map(str, item["loc"])), item["type"], item["msg"], known) for item in error.errors()]
        if stages and stage is None and any(item["type"] == "missing" for item in error.errors()):
            faults.append(f"of its stages ({', '.join(stages)}) --stage takes one")
        raise _invalid(table, "; ".join(faults), file) from None


def _table(file: Path, table: str, stage: str | None, known: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What the file says, and the names of the table's stages."""
    found = _content(file).get(table, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{table!r} in {file} is no table. Write its settings under a line [{table}].")
    stages = _stages(file, table, found, known) if table not in WITHOUT_STAGES else {}
    if stage is not None and stage not in stages:
        raise ConfigurationError(f"No stage {stage!r} in {file}: no table [{table}.{stage}]. Known: {', '.join(stages) or 'none'}.")
    common = {name: value for name, value in found.items() if name not in stages}
    return common | (stages[stage] if stage is not None else {}), list(stages)


def _content(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}. Give the TOML file with the settings: --settings FILE") from None
    for name in content:
        if name not in TABLES:
            kind = "table" if isinstance(content[name], dict) else "setting outside of a table"
            near = difflib.get_close_matches(name, TABLES, 1)
            meant = f"did you mean [{near[0]}]?" if near else f"Tables are {', '.join(f'[{table}]' for table in TABLES)}."
            raise ConfigurationError(f"{name!r} in {file} is a {kind} that nothing reads: {meant}")
    return content


def _stages(file: Path, table: str, found: dict[str, Any], known: list[str]) -> dict[str, dict[str, Any]]:
    """Tables within the table. A setting may itself be one, and one that holds no settings is a setting whose name is not right."""
    stages = {name: values for name, values in found.items() if isinstance(values, dict) and name not in known}
    for name, values in stages.items():
        strange = [key for key in values if key not in known]
        if name in WITHOUT_STAGES or (strange and name in TABLES):
            raise ConfigurationError(f"[{table}.{name}] in {file} is not read. Write it as a table of its own: [{name}].")
        if strange and difflib.get_close_matches(name, known, 1, 0.8):
            raise _invalid(table, f"{_unknown(name, known)}, nor a stage: {strange[0]} in it is no setting", file)
        if strange:
            raise _invalid(f"{table}.{name}", _unknown(strange[0], known), file)
    return stages


def _invalid(table: str, faults: str, file: Path) -> ConfigurationError:
    place = f"in {file.absolute()}, or among the options" if file.is_file() else "among the options"
    return ConfigurationError(f"Settings of [{table}] are not valid: {faults}. Correct them {place}.")


def _fault(name: str, kind: str, message: str, known: list[str]) -> str:
    if kind == "missing":
        return f"{name} is missing"
    if kind not in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{name}: {message}"
    return _unknown(name, known)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"{name} is not a setting" + (f" (did you mean {near[0]}?)" if near else f"; known: {', '.join(known)}")
