"""From a scoring formula, as the REST API writes it, to the engine's own classes. Knows nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as qe

from qwen3_rag.store.edge.engine.filters import geo_point, to_condition

_UNARY: Mapping[str, Callable[[Any], Any]] = {
    "neg": qe.Expression.Neg,
    "abs": qe.Expression.Abs,
    "sqrt": qe.Expression.Sqrt,
    "exp": qe.Expression.Exp,
    "log10": qe.Expression.Log10,
    "ln": qe.Expression.Ln,
    "acosh": qe.Expression.Acosh,
}
_MANY: Mapping[str, Callable[[list[Any]], Any]] = {
    "mult": qe.Expression.Mult,
    "sum": qe.Expression.Sum,
    "max": qe.Expression.Max,
    "min": qe.Expression.Min,
}
_DECAYS = {"lin_decay": qe.DecayKind.Lin, "exp_decay": qe.DecayKind.Exp, "gauss_decay": qe.DecayKind.Gauss}


def to_expression(expression: Any) -> Any:
    """A number, a variable (`"$score"` or a payload field), a condition or an operation on expressions."""
    if isinstance(expression, str):
        return qe.Expression.Variable(expression)
    if not isinstance(expression, Mapping):
        return qe.Expression.Constant(float(expression))
    kind = next(iter(expression))
    operand = expression[kind]
    if kind in _UNARY:
        return _UNARY[kind](to_expression(operand))
    if kind in _MANY:
        return _MANY[kind]([to_expression(one) for one in operand])
    if kind in _DECAYS:
        return _decay(kind, operand)
    return _special(kind, operand) or qe.Expression.Condition(to_condition(expression))


def _special(kind: str, operand: Any) -> Any:
    if kind == "div":
        left, right = to_expression(operand["left"]), to_expression(operand["right"])
        return qe.Expression.Div(left, right, operand.get("by_zero_default"))
    if kind == "pow":
        return qe.Expression.Pow(to_expression(operand["base"]), to_expression(operand["exponent"]))
    if kind == "geo_distance":
        return qe.Expression.GeoDistance(geo_point(operand["origin"]), operand["to"])
    if kind == "datetime":
        return qe.Expression.Datetime(operand)
    if kind == "datetime_key":
        return qe.Expression.DatetimeKey(operand)
    return None


def _decay(kind: str, operand: Mapping[str, Any]) -> Any:
    target = operand.get("target")
    return qe.Expression.Decay(
        _DECAYS[kind],
        to_expression(operand["x"]),
        None if target is None else to_expression(target),
        operand.get("midpoint"),
        operand.get("scale"),
    )
