"""bfloat16, which NumPy does not have: 16-bit storage, converted to float32 and back round a float32 kernel.

A bfloat16 is the upper half of a float32.  What only moves elements runs on the storage as it is.  The same
conversion serves a float16 beside float32 operands (`Primitive.wide`), which no kernel computes in directly,
and the means of windows, whose sums would lose digits in float16, or leave its range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.expression import Code, Literal
from cortex_compute.numpy_backend.memory import carve, scratch_size
from cortex_compute.numpy_backend.pointwise import BLOCK, block_slices
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.indexing import Concatenate, Gather, Pad, TakeAlong
from cortex_compute.primitives.pooling import Averaging
from cortex_compute.protocol import Kernel, Launch, Offer, Operand, Refusal, Stream
from cortex_compute.types import DType, TensorType, bfloat16, bool_, float16, float32, uint16, uint32

HALF, ONE, SIXTEEN = (np.uint32(n) for n in (0x7FFF, 1, 16))
QUIET_NAN = np.uint32(0x7FC0)
SECONDS = 1e-9  # for one element and way
WIDENING, NARROWING = 2e-6, 1e-5  # seconds for the calls that convert an operand, and a result
MOVES = (Copy, Gather, TakeAlong, Concatenate, Pad)

Call = Callable[[], Any]
OfferFunction = Callable[[Any, Sequence[Operand]], "Offer | Refusal"]
Places = tuple[tuple[int, tuple[int, ...]], ...]


def widen(bits: np.ndarray) -> np.ndarray:
    """The float32 of the bfloat16 whose storage (uint16) is ``bits``; exact."""
    out = np.empty(bits.shape, np.float32)
    _widen(bits, out)
    return out


def narrow(values: np.ndarray) -> np.ndarray:
    """The storage (uint16) of float32 ``values`` as bfloat16: the nearest, of two the even one; NaN is quiet.

    Wider values are rounded to float32 first.
    """
    out = np.empty(values.shape, np.uint16)
    with np.errstate(invalid="ignore"):
        _narrow(np.asarray(values, np.float32), out, *carve(None, _spare(out.size)))
    return out


def _widen(bits: np.ndarray, out: np.ndarray) -> None:
    raw = out.view(np.uint32)
    np.copyto(raw, bits)
    np.left_shift(raw, SIXTEEN, raw)


def _spare(size: int) -> list[TensorType]:
    """What `_narrow` needs for arrays of so many elements."""
    return [TensorType((min(size, BLOCK),), d) for d in (uint32, bool_)]


def _narrow(values: np.ndarray, out: np.ndarray, rounded: np.ndarray, nan: np.ndarray) -> None:
    for block in block_slices(out.shape):
        index: Any = (*block, ...)  # with the dots a 0-d array stays an array
        source, target = values[index], out[index]
        bits = source.view(np.uint32)
        n, mask = (a[: source.size].reshape(source.shape) for a in (rounded, nan))
        np.not_equal(source, source, mask)
        np.right_shift(bits, SIXTEEN, n)
        np.bitwise_and(n, ONE, n)
        np.add(n, HALF, n)  # what lies half way is rounded up if the last bit that stays is 1
        np.add(n, bits, n)
        np.right_shift(n, SIXTEEN, n)
        np.copyto(n, QUIET_NAN, where=mask)
        np.copyto(target, n, "unsafe")


def in_float32(primitive: Primitive) -> Primitive:
    """The primitive with float32 wherever it names bfloat16; itself, if it does not."""
    changed: dict[str, Any] = {}
    for f in fields(primitive):
        value = getattr(primitive, f.name)
        if value is bfloat16:
            changed[f.name] = float32
        elif isinstance(value, Code) and any(i[0] == "cast:bfloat16" for i in value.instructions):
            cast = (("cast:float32", *i[1:]) if i[0] == "cast:bfloat16" else i for i in value.instructions)
            changed[f.name] = Code(value.arity, cast, value.results)
    return replace(primitive, **changed) if changed else primitive


def half_type(primitive: Primitive, types: Sequence[TensorType]) -> DType | None:
    """The type of 16 bits among operands, results and casts that no kernel computes in."""
    if any(t.dtype is bfloat16 for t in types) or in_float32(primitive) is not primitive:
        return bfloat16
    summed = bool(primitive.wide) or isinstance(primitive, Averaging)
    return float16 if summed and types[0].dtype is float16 else None


def converted(
    primitive: Primitive, operands: Sequence[Operand], half: DType, answer: OfferFunction
) -> Offer | Refusal:
    """The offer of ``answer`` for operands and results of the type ``half``, which it does not know."""
    types = [o.type for o in operands]
    if isinstance(primitive, MOVES):
        return answer(*_on_storage(primitive, operands))
    wide = [Operand(TensorType(o.type.shape, float32)) if o.type.dtype is half else o for o in operands]
    offer = answer(in_float32(primitive), wide)
    if isinstance(offer, Refusal):
        return offer
    results = primitive.infer(*types)
    reads = [k for k in range(len(types)) if offer.reads is None or k in offer.reads]
    plan = Conversion(
        half,
        tuple((k, types[k].shape) for k in reads if types[k].dtype is half),
        tuple((j, t.shape) for j, t in enumerate(results) if t.dtype is half),
    )
    inside, outside = dict(plan.operands), dict(plan.results)
    reuse = [(k, j) for k, j in offer.reuse if k not in inside and j not in outside]
    reuse += [(k, j) for k, shape in plan.operands for j in outside if shape == outside[j]]
    return replace(
        offer,
        build=lambda: ConvertingKernel(offer.build(), plan),
        reuse=tuple(reuse),
        strided_outputs=offer.strided_outputs or len(outside) == len(results),
        workspace=plan.nbytes + offer.workspace,
        cost=offer.cost + plan.cost,
        direct=lambda: None,
    )


def _on_storage(primitive: Primitive, operands: Sequence[Operand]) -> tuple[Primitive, list[Operand]]:
    """What moves bfloat16, as what moves the integers that they are stored as."""
    if isinstance(primitive, Pad):
        bits = narrow(np.array(primitive.value.value, np.float32))
        primitive = replace(primitive, value=Literal(int(bits)))
    stored = (TensorType(t.shape, uint16) if t.dtype is bfloat16 else t for t, _ in operands)
    return primitive, [o._replace(type=t) for o, t in zip(operands, stored)]


class Conversion:
    """Which operands and results (number, shape) of a float32 kernel are of another type, and its scratch.

    Operands are converted before the kernel runs and results after it: each result may take the place of
    any operand.
    """

    def __init__(self, half: DType, operands: Places, results: Places) -> None:
        self.half, self.operands, self.results = half, operands, results
        wide = [TensorType(shape, float32) for _, shape in (*operands, *results)]
        self.cost = len(operands) * WIDENING + len(results) * NARROWING + sum(t.size for t in wide) * SECONDS
        self.scratch = [*wide, *_spare(max((t.size for t in wide), default=0))]
        self.nbytes = scratch_size(self.scratch)

    def before(self, source: np.ndarray, memory: np.ndarray) -> Call:
        if self.half is bfloat16:
            return partial(_widen, source, memory)
        return partial(np.copyto, memory, source)

    def after(self, memory: np.ndarray, target: np.ndarray, spare: Sequence[np.ndarray]) -> Call:
        if self.half is bfloat16:
            return partial(_narrow, memory, target, *spare)
        return partial(np.copyto, target, memory, "same_kind")


class ConvertingKernel:
    """A float32 kernel between conversions."""

    def __init__(self, kernel: Kernel, plan: Conversion) -> None:
        self.kernel, self.plan = kernel, plan

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        plan, inputs, outputs = self.plan, list(inputs), list(outputs)
        *wide, rounded, nan = carve(workspace, plan.scratch)
        memory = iter(wide)
        before, after = [], []
        for k, _ in plan.operands:
            array = next(memory)
            before.append(plan.before(inputs[k], array))
            inputs[k] = array
        for j, _ in plan.results:
            array = next(memory)
            if outputs[j] is not None:
                after.append(plan.after(array, outputs[j], (rounded, nan)))
                outputs[j] = array
        rest = None if workspace is None else workspace[plan.nbytes :]
        launch = self.kernel.bind(inputs, outputs, rest)

        def run(stream: Stream) -> None:
            for call in before:
                stream.launch(call)
            launch(stream)
            for call in after:
                stream.launch(call)

        return run
