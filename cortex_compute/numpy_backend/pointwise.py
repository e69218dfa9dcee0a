"""Pointwise code as a list of ufunc calls over cache-sized blocks.

`steps.plan` turns `Code` into steps over registers, once; `bind` lays the steps over concrete arrays.  The
iteration space is coalesced to as few axes as the operands' strides allow and cut into blocks of BLOCK
elements, so that the intermediate registers stay in the cache; every view is made when binding, so that a run
makes none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from cortex_compute.expression import Code, Literal, Ref
from cortex_compute.numpy_backend.erf import erf_steps
from cortex_compute.numpy_backend.memory import aligned
from cortex_compute.numpy_backend.steps import BITS, CAST, CONDITION, DIFFERENCE, ERF, Plan, Step, plan
from cortex_compute.types import DType, TensorType, bool_, broadcast, dtype, float16, float32

BLOCK = 16384  # elements; a register of float32 is 64 KB, of which a second-level cache holds a dozen
EXPAND = 512  # operands that repeat along rows shorter than this are written out for one block

Call = Callable[[], Any]

UFUNCS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "neg": np.negative, "abs": np.absolute, "floor": np.floor, "exp": np.exp, "log": np.log, "log1p":
    np.log1p, "expm1": np.expm1, "sqrt": np.sqrt, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "lt":
    np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne":
    np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "isfinite": np.isfinite,
}  # fmt: skip
EXTREMES: dict[str, Any] = {"min": np.minimum, "max": np.maximum, "relu": np.maximum}
INTEGERS = {n: np.dtype(f"int{8 * n}") for n in (1, 2, 4, 8)}  # by item size: what bits are read as


def workspace_size(code: Code, literals: Sequence[Literal], operands: Sequence[TensorType]) -> int:
    """Bytes of scratch for running ``code`` over operands of these types."""
    p = plan(code, tuple(t.dtype for t in operands), tuple(x.kind for x in literals))
    block = min(BLOCK, TensorType(broadcast(t.shape for t in operands)).size)
    expanded = sum(1 < t.size < EXPAND for t in operands)
    return (p.registers + p.scratch + expanded) * aligned(p.itemsize * block)


class Scratch:
    """Hands out pieces of a workspace, each of one block."""

    def __init__(self, workspace: np.ndarray | None, pieces: int, nbytes: int) -> None:
        self.piece = aligned(nbytes)
        self.memory = np.empty(pieces * self.piece, np.uint8) if workspace is None else workspace
        self.arrays: dict[tuple[int, DType, tuple[int, ...]], np.ndarray] = {}

    def array(self, index: int, d: DType, shape: tuple[int, ...]) -> np.ndarray:
        key = (index, d, shape)
        if key not in self.arrays:
            start = index * self.piece
            nbytes = math.prod(shape) * d.itemsize
            self.arrays[key] = self.memory[start : start + nbytes].view(d.storage).reshape(shape)
        return self.arrays[key]


def bind(
    code: Code,
    literals: Sequence[Literal],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray | None],
    workspace: np.ndarray | None,
    dtypes: Sequence[DType],
) -> list[Call]:
    """The calls that compute ``outputs`` (None: not wanted) from ``inputs``, block after block."""
    p = plan(code, tuple(dtypes), tuple(x.kind for x in literals))
    wanted = [o for o in outputs if o is not None]
    if not wanted or not wanted[0].size:
        return []
    shape = wanted[0].shape
    flat = _flattened(shape, [*inputs, *wanted])
    if flat is None:
        flat = coalesce(shape, [*(np.broadcast_to(a, shape) for a in inputs), *wanted])
    sources, space = flat[: len(inputs)], flat[-1].shape
    results = iter(flat[len(inputs) :])
    targets = [None if o is None else next(results) for o in outputs]
    pieces = p.registers + p.scratch + len(inputs)
    scratch = Scratch(workspace, pieces, p.itemsize * min(BLOCK, math.prod(space)))
    binder = Binder(p, literals, scratch, sources, targets)
    blocks = list(block_slices(space))
    sources = [binder.expand(a, blocks, n.size) for a, n in zip(sources, inputs)]
    for index in blocks:
        binder.block(
            [a.for_block(index) if isinstance(a, Expanded) else a[index] if a.ndim else a for a in sources],
            [None if t is None else t[index] for t in targets],
        )
    return binder.calls


def _flattened(shape: tuple[int, ...], arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The arrays with one axis, or none where they hold one number, if all are dense: the common case."""
    flat: list[np.ndarray] = []
    for a in arrays:
        if a.shape == shape and a.flags.c_contiguous:
            flat.append(a.reshape(-1))
        elif a.size == 1:
            flat.append(a.reshape(()))
        else:
            return None
    return flat


def coalesce(shape: tuple[int, ...], arrays: Sequence[np.ndarray], group: Sequence[Any] | None = None) -> Any:
    """Views of the arrays with neighbouring axes joined wherever every array's strides allow it.

    Axes of size 1 go.  With ``group`` only axes of equal group are joined, and the groups that remain are
    returned beside the arrays.
    """
    axes: list[list[Any]] = []  # [size, strides of the last, group]
    for i, n in enumerate(shape):
        strides = [a.strides[i] for a in arrays]
        mark = None if group is None else group[i]
        if n == 1:
            continue
        if axes and axes[-1][2] == mark and all(b == n * s for b, s in zip(axes[-1][1], strides)):
            axes[-1] = [axes[-1][0] * n, strides, mark]
        else:
            axes.append([n, strides, mark])
    if not axes:
        axes = [[1, [0] * len(arrays), None if group is None else "kept"]]
    views = [
        np.lib.stride_tricks.as_strided(a, [axis[0] for axis in axes], [axis[1][k] for axis in axes])
        for k, a in enumerate(arrays)
    ]
    return views if group is None else (views, [a[2] for a in axes])


def block_slices(shape: tuple[int, ...], limit: int = BLOCK) -> Iterator[tuple[slice, ...]]:
    """Index tuples that cut ``shape`` into blocks of at most ``limit`` elements, whole along inner axes."""
    if 0 in shape:
        return
    inner, axis = 1, len(shape)
    while axis > 0 and inner * shape[axis - 1] <= limit:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield tuple(slice(0, n) for n in shape)
        return
    axis -= 1
    rows = max(1, limit // inner)
    whole = tuple(slice(0, n) for n in shape[axis + 1 :])
    for outer in itertools.product(*(range(n) for n in shape[:axis])):
        front = tuple(slice(i, i + 1) for i in outer)
        for start in range(0, shape[axis], rows):
            yield (*front, slice(start, min(start + rows, shape[axis])), *whole)


class Expanded:
    """An operand that repeats along the first axis, written out for one block: its rows are not walked."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory

    def for_block(self, index: tuple[slice, ...]) -> np.ndarray:
        return self.memory[: index[0].stop - index[0].start]


class Binder:
    """Lays a plan's steps over the arrays of one block after another; ``calls`` grows."""

    def __init__(
        self,
        p: Plan,
        literals: Sequence[Literal],
        scratch: Scratch,
        sources: Sequence[np.ndarray],
        targets: Sequence[np.ndarray | None],
    ) -> None:
        self.plan, self.scratch, self.literals = p, scratch, literals
        self.calls: list[Call] = []
        self.expanded = 0
        self.places = self._places(sources, targets)
        self.constants: dict[tuple[int, DType], np.ndarray] = {}
        self.values: dict[Ref, np.ndarray] = {}

    def expand(self, a: np.ndarray, blocks: list[tuple[slice, ...]], size: int) -> Any:
        """``a``, or its expansion where it is a short row that repeats; the call that fills it is added."""
        if a.ndim != 2 or a.strides[0] != 0 or not 1 < size < EXPAND or a.shape[0] < 8 or a.strides[1] == 0:
            return a
        rows = blocks[0][0].stop
        slot = self.plan.registers + self.plan.scratch + self.expanded
        self.expanded += 1
        memory = self.scratch.array(slot, dtype(a.dtype), (rows, a.shape[1]))
        self.calls.append(partial(np.copyto, memory, a[:rows]))
        return Expanded(memory)

    def block(self, inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray | None]) -> None:
        """Adds the calls for one block."""
        p, shape = self.plan, next(t.shape for t in targets if t is not None)
        self.values = {("a", k): a for k, a in enumerate(inputs)}
        for i, step in enumerate(p.steps):
            j = self.places.get(i)
            out = self.scratch.array(step.out, step.result, shape) if j is None else targets[j]
            assert out is not None
            self._emit(step, out)
            self.values["t", i] = out
        for ref, target in zip(p.code.results, targets):
            if target is None:
                continue
            source = self._literal(ref[1], dtype(target.dtype)) if ref[0] == "l" else self.values[ref]
            if source is not target:
                self.calls.append(partial(np.copyto, target, source))

    def _places(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray | None]) -> dict[int, int]:
        """Which instructions write straight into which result's memory.

        Memory that an operand lies in may be written once all instructions before have read the operand, and
        by the last reader itself if it takes element by element.  An instruction whose register the result's
        would take over may begin in the result's memory, on the same terms.
        """
        p, places = self.plan, dict[int, int]()
        for j, (where, result) in enumerate(p.code.results):
            target = targets[j]
            if where != "t" or target is None or result in places:
                continue
            covered = [k for k, a in enumerate(sources) if np.may_share_memory(a, target)]
            i: int | None = result
            while i is not None and self._may_write(i, covered, sources, target):
                places[i] = j
                i = p.steps[i].over
        return places

    def _may_write(
        self, i: int, covered: Sequence[int], sources: Sequence[np.ndarray], target: np.ndarray
    ) -> bool:
        step, read = self.plan.steps[i], self.plan.last_read
        last = max((read.get(("a", k), -1) for k in covered), default=-1)
        if last != i:
            return last < i
        now = [k for k in covered if read.get(("a", k)) == i]
        return step.op != "erf" and all(sources[k].strides == target.strides for k in now)

    def _literal(self, k: int, d: DType) -> np.ndarray:
        if (k, d) not in self.constants:
            self.constants[k, d] = np.asarray(self.literals[k].value).astype(d.storage)
        return self.constants[k, d]

    def _argument(self, ref: Ref, d: DType, slot: int) -> np.ndarray:
        """An argument as an array of type ``d``: a literal, the value itself, or a cast of it in scratch."""
        if ref[0] == "l":
            return self._literal(ref[1], d)
        value = self.values[ref]
        if value.dtype == d.storage:
            return value
        cast = self.scratch.array(self.plan.registers + slot, d, value.shape)
        self.calls.append(partial(np.copyto, cast, value, "unsafe"))
        return cast

    def _emit(self, step: Step, out: np.ndarray) -> None:
        op, calls = step.op, self.calls
        if op == "select":
            self._select(step, out)
            return
        if op.startswith("cast:"):
            where, k = step.refs[0]
            source = self._literal(k, step.result) if where == "l" else self.values[where, k]
            calls.append(partial(np.copyto, out, source, "unsafe"))
            return
        args = [self._argument(ref, step.compute, CAST + n) for n, ref in enumerate(step.refs)]
        one = step.compute.storage.type(1)
        if op in EXTREMES:
            spread = [_spread(a, out.shape) if r[0] == "l" else a for a, r in zip(args, step.refs)]
            zero = [] if op != "relu" else [_spread(np.zeros((), step.compute.storage), out.shape)]
            calls.append(partial(EXTREMES[op], *spread, *zero, out=out))
        elif op == "sigmoid":  # 1 / (1 + exp(-x)): exact at both ends, where exp overflows 1 / inf is 0
            calls += [partial(np.negative, args[0], out), partial(np.exp, out, out)]
            calls += [partial(np.add, out, one, out), partial(np.divide, one, out, out)]
        elif op == "rsqrt":
            calls += [partial(np.sqrt, args[0], out), partial(np.divide, one, out, out)]
        elif op == "erf":
            wide = float32 if step.compute is float16 else step.compute
            slots = range(self.plan.registers + ERF, self.plan.registers + ERF + 4)
            calls += erf_steps(args[0], out, [self.scratch.array(i, wide, out.shape) for i in slots])
        elif op == "floor" and step.compute.kind != "float":
            calls.append(partial(np.copyto, out, args[0]))
        else:
            calls.append(partial(UFUNCS[op], *args, out))

    def _select(self, step: Step, out: np.ndarray) -> None:
        """out = a where the condition is true, else b, by bits: a masked copy branches at each element.

        a and b are read before ``out`` is written, element by element, so that ``out`` may lie on either.
        """
        calls, first, shape = self.calls, self.plan.registers, out.shape
        where, k = step.refs[0]
        condition = self._literal(k, bool_) if where == "l" else self.values[where, k]
        if condition.dtype != np.bool_:
            true = self.scratch.array(first + CONDITION, bool_, shape)
            calls.append(partial(np.not_equal, condition, 0, true))
            condition = true
        a, b = (self._argument(ref, step.result, CAST + n) for n, ref in enumerate(step.refs[1:]))
        integer = INTEGERS[out.itemsize]
        d = dtype(integer)
        bits = self.scratch.array(first + BITS, d, shape)
        calls.append(partial(np.copyto, bits, condition.view(np.int8)))
        a, b, out = a.view(integer), b.view(integer), out.view(integer)
        if self._is_zero(step.refs[1]):
            calls.append(partial(np.subtract, bits, integer.type(1), bits))
            calls.append(partial(np.bitwise_and, bits, b, out))
            return
        calls.append(partial(np.negative, bits, bits))  # all ones where the condition holds
        if self._is_zero(step.refs[2]):
            calls.append(partial(np.bitwise_and, bits, a, out))
            return
        other = self.scratch.array(first + DIFFERENCE, d, shape)
        calls.append(partial(np.bitwise_xor, a, b, other))
        calls.append(partial(np.bitwise_and, other, bits, other))
        calls.append(partial(np.bitwise_xor, other, b, out))

    def _is_zero(self, ref: Ref) -> bool:
        return ref[0] == "l" and not np.any(self._literal(ref[1], dtype("float64")).view(np.int64))


def _spread(scalar: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A literal as an array: minimum and maximum are three times faster between arrays."""
    return _constant(scalar.tobytes(), scalar.dtype)[: math.prod(shape)].reshape(shape)


@lru_cache(maxsize=32)
def _constant(value: bytes, storage: np.dtype[Any]) -> np.ndarray:
    return np.full(BLOCK, np.frombuffer(value, storage)[0])
