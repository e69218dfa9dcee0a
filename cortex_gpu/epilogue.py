"""The end of a product or a convolution: an epilogue over the sum, and the write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cortex_compute.expression import Code, Literal
from cortex_compute.protocol import Operand
from cortex_compute.types import DType, TensorType, contiguous_strides
from cortex_gpu.index import Walk, spread
from cortex_gpu.kernels import Argument, In, Out
from cortex_gpu.pointwise import parameters, statements, title
from cortex_gpu.prelude import storage


class Ending(NamedTuple):
    """C that takes the sum ``value``, which belongs to element ``at`` in column ``column`` of the result.

    ``parameters``: C declarations of what it reads and writes, with the arguments.
    """

    name: str
    parameters: tuple[tuple[str, Argument], ...]
    store: str


def ending(
    name: str, product: DType, result: TensorType, code: Code | None, literals: Sequence[Literal],
    extras: Sequence[Operand],
) -> Ending:  # fmt: skip
    """The end of a kernel ``name`` that writes ``result`` as output 0; ``extras`` are operands from 2 on."""
    target = storage(result.dtype)
    given: list[tuple[str, Argument]] = [(f"{target}* __restrict__ result", Out(0))]
    if code is None:
        return Ending(name, tuple(given), f"result[at] = store<{target}>(value);")
    lines = []
    for k, operand in enumerate(extras):
        d = operand.type.dtype
        given.append((f"const {storage(d)}* __restrict__ e{k}", In(2 + k)))
        found, place = _place(operand, result.shape, f"w{k}")
        lines += [*found, f"const auto x{k} = load(e{k}[{place}]);"]
    declared, values = parameters(literals)
    given += zip(declared, values)
    dtypes = [product, *(x.type.dtype for x in extras)]
    names = ["value", *(f"x{k}" for k in range(len(extras)))]
    made, (y,) = statements(code, literals, dtypes, names)
    text = "\n          ".join([*lines, *made, f"result[at] = store<{target}>({y});"])
    return Ending(title(code, name), tuple(given), text)


def _place(operand: Operand, shape: tuple[int, ...], name: str) -> tuple[list[str], str]:
    """Lines, and the offset of an operand's number for the result's element ``at``.

    The usual ones, a whole array and a vector over the last axis, need no sizes in the text.
    """
    strides = tuple(0 if n == 1 else s for n, s in zip(shape, spread(operand, shape)))
    dense = tuple(0 if n == 1 else s for n, s in zip(shape, contiguous_strides(shape)))
    if strides == dense:
        return [], "at"
    if not any(strides[:-1]) and strides[-1] in (0, 1):
        return [], "column" if strides[-1] else "0"
    lines, (place,) = Walk.over(shape, [strides]).offsets("at", name)
    return lines, place
