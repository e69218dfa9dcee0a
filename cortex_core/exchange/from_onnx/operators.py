"""The table of operators: which versions of each are known, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from cortex_compute.frozen import frozen
from cortex_core.exchange.from_onnx.stacked import Stacked
from cortex_core.exchange.from_onnx.value import Known, Value

PACKAGE = "cortex_core.exchange.from_onnx"
MODULES = (
    *("activations", "arithmetic", "convolution", "matrices", "pooling", "normalization", "rearranging"),
    *("reductions", "slicing", "resizing", "recurrent", "truths", "same"),
)
Result = Value | Known | Stacked | Sequence[Value | Known]
Translator = Callable[[Any], Result]


@frozen
class Operator:
    """An operator of ONNX: the versions of its definition that are known, and what puts our layers for it."""

    versions: tuple[int, ...]
    translate: Translator


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, since: Sequence[int]) -> Callable[[Translator], Translator]:
    """Registers what becomes of operators of these names, as they were defined in these opsets."""

    def decorate(translate: Translator) -> Translator:
        OPERATORS.update(dict.fromkeys(names, Operator(tuple(since), translate)))
        return translate

    return decorate


def load() -> dict[str, Operator]:
    """The whole table."""
    for name in MODULES:
        import_module(f"{PACKAGE}.{name}")
    return OPERATORS


def version(op: str, opset: int) -> int:
    """The opset in which the definition of an operator that holds in this one was made; 0 for one that ONNX
    does not have."""
    from onnx import defs

    try:
        return int(defs.get_schema(op, opset, "").since_version)
    except defs.SchemaError:
        return 0
