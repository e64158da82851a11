r"""The four layers of nano's reranker, written down weight by weight: lexical matching as attention. Nothing is trained.

A prompt is `system, instruction ⟨query marker⟩ query ⟨document marker⟩ document ⟨end of turn⟩ assistant …`. Names are features (`Feature`).

- Layer 1 marks. Three heads look for the two markers and for the second end of turn; QUERY_SEEN and DOCUMENT_SEEN turn from -1 to 1,
  AFTER from 0 to 1/6. The MLP has silu(16 · ±1) as a switch, which keeps a word's weight in the query only.
- Layer 2 matches. Each word attends, by the cosine of codes and directions, to the query, to the document up to and with itself, and to a
  sink, which gets what a cosine of `threshold` would. MATCH is the share of the query, MATCH_WEIGHT the same times the weight of what was
  met. A word that stood in the document before shares its attention with its earlier selves, so that the n-th occurrence has
  MATCH e⁻¹ / (e⁻¹ + n); the MLP multiplies both into TERM, whose sum over occurrences saturates much as BM25's term frequency does.
- Layer 3 looks at the neighbourhood: NEARBY is the mean TERM of the words before and of the word itself, by a Gaussian of `window`
  tokens, PAIR is TERM · NEARBY. At the beginning of a document the window holds few words, so that what stands there counts more.
- Layer 4 sums, at the last token: uniform attention to the document and to a sink that weighs `length` tokens makes length · mean into
  sum / (1 + tokens / length), BM25's length normalisation. The same over the query's weights, so that long queries need more, and a
  constant, give the SCORE.

Rotary embedding: the base is so high that all but the first pairs of dimensions stand still over the whole context. Those hold what is
compared; layer 3's window comes from pairs 3 to 7, whose cosines of a distance fall one after the other.

Every gain is computed from the logit that is wanted, given that RMSNorm makes query and key as long as the square root of the head's size.
What has no part in this is small noise behind zero output projections, so that training can go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.models.nano.reranker_table import CODE, CONTENT

Array = NDArray[np.float64]
Tensors = dict[str, Array]
Part = Mapping["Feature", float]

HEAD_DIM = 128
HEADS = 4
KEY_HEADS = 2
FEATURES = 24
HIDDEN = CODE + CONTENT + FEATURES
INNER = 512
ROPE_THETA = 1e38
NOISE = 0.02

COMPARED = CODE + 64
"""Leading dimensions that layer 2 compares: the code and the first of the direction."""
SIZE = 10.0
"""Length of a row's compared part, and of the features that stand in for it where a token has none."""
SWITCH = 16.0
"""What a switch multiplies by: silu(16) is 16 and silu(-16) is 0 to six digits."""
MARK = 20.0
"""Half the difference of logits between what is looked at and what is not."""
SINKS = 3
"""Turns that are opened before the last token."""


class Feature(IntEnum):
    """Features, counted from the first dimension after the direction. The rest of the 24 are zero."""

    ONE = 0
    WEIGHT = 1
    IS_QUERY_MARKER = 2
    IS_DOCUMENT_MARKER = 3
    IS_TURN_END = 4
    SINK = 5
    BLANK = 6
    QUERY_SEEN = 7
    DOCUMENT_SEEN = 8
    AFTER = 9
    QUERY_WEIGHT = 10
    IN_QUERY = 11
    IN_DOCUMENT = 12
    MATCH = 13
    MATCH_WEIGHT = 14
    TERM = 15
    NEARBY = 16
    PAIR = 17
    SCORE = 18
    FILLER = 19


@dataclass(frozen=True, slots=True)
class Formula:
    """What was chosen, on development questions of other collections than those it is judged by.

    `sharpness` is the logit of a cosine of 1 and `threshold` the cosine at the sink's; `query_offset` puts the query behind the document's
    own words. `pair_weight` and `length` weigh neighbours and length. `score_scale`, `query_scale` and `bias` make a probability of the
    sum; they were fitted by logistic regression to 320 questions, each with its passage and the eight that nano finds nearest.
    """

    sharpness: float = 30.0
    query_offset: float = -1.0
    threshold: float = 0.7
    saturation: float = 20.0
    window: float = 13.6
    nearness: float = 100.0
    pair_weight: float = 1.7
    length: float = 300.0
    query_length: float = 50.0
    score_scale: float = 0.35
    query_scale: float = 0.25
    bias: float = 0.0

    @property
    def term_scale(self) -> float:
        """Makes TERM a word's weight where an exact match is the first."""
        share = 1 / (1 + np.exp(-self.query_offset))
        return float(1 / (share**2 / (1 + np.exp(-self.saturation * share))))


# Pairs of rotary dimensions are i and i + HEAD_DIM / 2. From pair 10 on they turn by less than 0.04 rad over 32,768 tokens.
_HALF = HEAD_DIM // 2
_STILL = [*range(10, _HALF), *range(_HALF + 10, HEAD_DIM)]
_FLAGS = _STILL[COMPARED:]
_WINDOW_PAIRS = (3, 4, 5, 6, 7)
_WINDOW_LOGITS = (18.0, 25.0, 25.0, 25.0, 25.0)
"""Each pair's cosine falls before the one above it comes round again."""


def layers(formula: Formula, generator: np.random.Generator) -> list[Tensors]:
    """Tensors of each layer by their names within it."""
    return [make(formula, generator) for make in (_marking, _matching, _neighbourhood, _summing)]


def feature(which: Feature) -> int:
    """The dimension of a feature in the residual stream."""
    return CODE + CONTENT + which


def _marking(_: Formula, generator: np.random.Generator) -> Tensors:
    tensors = _noise(generator)
    looked_for = {_FLAGS[0]: Feature.IS_QUERY_MARKER, _FLAGS[1]: Feature.IS_DOCUMENT_MARKER, _FLAGS[2]: Feature.IS_TURN_END}
    for head in range(KEY_HEADS):
        _project(tensors["k_proj"], head, {dim: {which: 1.0} for dim, which in looked_for.items()})
    for head, dims in enumerate(((0,), (1,), (1, 2))):  # the third weighs ends of turns against the document's marker
        _project(tensors["q_proj"], head, {_FLAGS[dim]: {Feature.ONE: 1.0} for dim in dims})
    _gain(tensors, dict.fromkeys(looked_for, MARK), query=1, key=3)
    _values(tensors, 0, [{Feature.IS_QUERY_MARKER: 1, Feature.ONE: 1}, {Feature.IS_DOCUMENT_MARKER: 1, Feature.ONE: 1}])
    _values(tensors, 1, [{Feature.IS_TURN_END: 1, Feature.IS_DOCUMENT_MARKER: -1}])
    _output(tensors, head=0, value=0, into={Feature.QUERY_SEEN: 1})
    _output(tensors, head=1, value=1, into={Feature.DOCUMENT_SEEN: 1})
    _output(tensors, head=2, value=0, into={Feature.AFTER: 0.25})
    query = {Feature.QUERY_SEEN: 1.0, Feature.DOCUMENT_SEEN: -1.0, Feature.ONE: -1.0}
    document = {Feature.DOCUMENT_SEEN: 1.0, Feature.AFTER: -12.0}
    _unit(tensors, 0, query, {Feature.WEIGHT: 1}, {Feature.QUERY_WEIGHT: 1}, SWITCH)
    _unit(tensors, 1, query, {Feature.ONE: 1}, {Feature.IN_QUERY: 1}, SWITCH)
    _unit(tensors, 2, document, {Feature.ONE: 1}, {Feature.IN_DOCUMENT: 1}, SWITCH)
    return tensors


def _matching(formula: Formula, generator: np.random.Generator) -> Tensors:
    tensors = _noise(generator)
    query, document, sink, blank = _FLAGS
    keys = {query: Feature.QUERY_SEEN, document: Feature.DOCUMENT_SEEN, sink: Feature.SINK, blank: Feature.BLANK}
    _project(tensors["q_proj"], 0, {dim: {Feature.ONE: 1.0} for dim in (query, document, sink)})
    _project(tensors["k_proj"], 0, {dim: {which: 1.0} for dim, which in keys.items()})
    for name in ("q_proj", "k_proj"):
        tensors[name][_STILL[:COMPARED]] = np.eye(COMPARED, HIDDEN)
    ahead = -formula.query_offset / 2  # of the document over the query, to either side
    at_threshold = formula.sharpness * formula.threshold + 2 * (MARK + ahead)  # neither flag is raised at a sink
    gains = dict.fromkeys(_STILL[:COMPARED], formula.sharpness / SIZE**2)
    gains |= {query: MARK, document: ahead, sink: at_threshold / SIZE, blank: 0.0}
    _gain(tensors, gains, query=SIZE**2 + 3, key=SIZE**2 + 2)
    _values(tensors, 0, [{Feature.QUERY_WEIGHT: 1}, {Feature.IN_QUERY: 1}])
    _output(tensors, head=0, value=0, into={Feature.MATCH_WEIGHT: 1})
    _output(tensors, head=0, value=1, into={Feature.MATCH: 1})
    # Words of the query match themselves; 30 below zero they make no term.
    gate = {Feature.MATCH: formula.saturation, Feature.IN_DOCUMENT: 30.0, Feature.ONE: -30.0}
    _unit(tensors, 0, gate, {Feature.MATCH_WEIGHT: formula.term_scale / formula.saturation}, {Feature.TERM: 1})
    return tensors


def _neighbourhood(formula: Formula, generator: np.random.Generator) -> Tensors:
    tensors = _noise(generator)
    document = _FLAGS[0]
    constant: dict[int, Part] = {pair: {Feature.ONE: 1.0} for pair in _WINDOW_PAIRS}
    _project(tensors["q_proj"], 0, {**constant, document: {Feature.ONE: 1.0}})
    _project(tensors["k_proj"], 0, {**constant, document: {Feature.IN_DOCUMENT: 2.0, Feature.ONE: -1.0}})
    # Around zero a cosine of weight a falls as a · (frequency · distance)² / 2; the first two pairs make the window.
    curvature = sum(a * _frequency(pair) ** 2 for a, pair in zip(_WINDOW_LOGITS, _WINDOW_PAIRS, strict=True))
    stretch = 1 / (formula.window**2 * curvature)
    gains = {pair: a * stretch for a, pair in zip(_WINDOW_LOGITS, _WINDOW_PAIRS, strict=True)}
    _gain(tensors, {**gains, document: MARK}, query=len(_WINDOW_PAIRS) + 1, key=len(_WINDOW_PAIRS) + 1)
    _values(tensors, 0, [{Feature.TERM: 1}])
    _output(tensors, head=0, value=0, into={Feature.NEARBY: 1})
    _unit(tensors, 0, {Feature.NEARBY: 1}, {Feature.TERM: 1}, {Feature.PAIR: 1}, formula.nearness)
    return tensors


def _summing(formula: Formula, generator: np.random.Generator) -> Tensors:
    tensors = _noise(generator)
    members = ((Feature.IN_DOCUMENT, formula.length), (Feature.IN_QUERY, formula.query_length))
    gains: dict[int, float] = {}
    for kv, (which, length) in enumerate(members):
        member, sink = _FLAGS[2 * kv : 2 * kv + 2]
        _project(tensors["k_proj"], kv, {member: {which: 2.0, Feature.ONE: -1.0}, sink: {Feature.SINK: 1 / SIZE}})
        _project(tensors["q_proj"], kv * HEADS // KEY_HEADS, {dim: {Feature.ONE: 1.0} for dim in (member, sink)})
        # A sink is no member (-1), and its key has two parts instead of one, each shorter by √2.
        gains |= {member: MARK, sink: MARK + np.sqrt(2) * (MARK + np.log(length / SINKS))}
    _gain(tensors, gains, query=2, key=1)
    # Large numbers stand in the values, not in the output, where they would enlarge what a step of training adds to other values.
    gain, loss = formula.score_scale * formula.length, formula.query_scale * formula.query_length
    _values(tensors, 0, [{Feature.TERM: gain, Feature.PAIR: gain * formula.pair_weight}])
    _values(tensors, 1, [{Feature.QUERY_WEIGHT: loss}])
    _output(tensors, head=0, value=0, into={Feature.SCORE: 1})
    _output(tensors, head=HEADS // KEY_HEADS, value=0, into={Feature.SCORE: -1})
    _unit(tensors, 0, {Feature.ONE: 1}, {Feature.ONE: 1}, {Feature.SCORE: -formula.bias}, SWITCH)
    return tensors


def _noise(generator: np.random.Generator) -> Tensors:
    """A layer that adds nothing. Flags have large gains, so queries of noise stay away from them."""
    keys = KEY_HEADS * HEAD_DIM
    shapes = {"q_proj": HEADS * HEAD_DIM, "k_proj": keys, "v_proj": keys, "gate_proj": INNER, "up_proj": INNER}
    tensors = {name: generator.normal(0, NOISE, (rows, HIDDEN)) for name, rows in shapes.items()}
    tensors["q_proj"].reshape(HEADS, HEAD_DIM, HIDDEN)[:, _FLAGS] = 0
    zero = {"o_proj": np.zeros((HIDDEN, HEADS * HEAD_DIM)), "down_proj": np.zeros((HIDDEN, INNER))}
    norms = {"input_layernorm": np.ones(HIDDEN), "post_attention_layernorm": np.ones(HIDDEN)}
    return tensors | zero | norms | {"q_norm": np.ones(HEAD_DIM), "k_norm": np.ones(HEAD_DIM)}


def _project(projection: Array, head: int, parts: Mapping[int, Part]) -> None:
    """Make a head's query or key of these parts alone."""
    projection[head * HEAD_DIM : (head + 1) * HEAD_DIM] = 0
    for dim, part in parts.items():
        projection[head * HEAD_DIM + dim] = _row(part)


def _gain(tensors: Tensors, gains: Mapping[int, float], query: float, key: float) -> None:
    """Set what a product of query and key in a dimension adds to the logit; `query` and `key` are their squared lengths before the norm."""
    for dim, gain in gains.items():
        tensors["q_norm"][dim] = gain * np.sqrt(query * key / HEAD_DIM)


def _values(tensors: Tensors, kv: int, parts: Sequence[Part]) -> None:
    for value, part in enumerate(parts):
        tensors["v_proj"][kv * HEAD_DIM + value] = _row(part)


def _output(tensors: Tensors, head: int, value: int, into: Part) -> None:
    tensors["o_proj"][:, head * HEAD_DIM + value] = _row(into)


def _unit(tensors: Tensors, index: int, gate: Part, up: Part, into: Part, scale: float = 1.0) -> None:
    """One inner unit of the MLP: silu(scale · gate) · up / scale."""
    tensors["gate_proj"][index] = scale * _row(gate)
    tensors["up_proj"][index] = _row(up)
    tensors["down_proj"][:, index] = _row(into) / scale


def _row(part: Part) -> Array:
    row = np.zeros(HIDDEN)
    for which, coefficient in part.items():
        row[feature(which)] = coefficient
    return row


def _frequency(pair: int) -> float:
    """Radians per token."""
    return float(ROPE_THETA ** (-2 * pair / HEAD_DIM))
