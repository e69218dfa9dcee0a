"""Pointwise code as a list of ufunc calls over cache-sized blocks.

`Plan` turns `Code` into steps over registers once; `bind` lays the steps over concrete arrays.  The iteration space
is coalesced to as few axes as the operands' strides allow and cut into blocks of BLOCK elements, so that the
intermediate registers stay in the cache; every view is made when binding, so that a run makes none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from cortex_compute.expression import COMPARISONS, FLOATING, Code, Literal, Ref
from cortex_compute.numpy_backend.erf import erf_steps
from cortex_compute.numpy_backend.memory import aligned
from cortex_compute.types import DType, TensorType, bool_, broadcast, float16, float32, promote

BLOCK = 16384  # elements; a register of float32 is 64 KB, a quarter of a small second-level cache
EXPAND = 512  # operands that repeat along rows shorter than this are written out for one block

Call = Callable[[], Any]

UFUNCS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "neg": np.negative,
    "min": np.minimum, "max": np.maximum, "abs": np.absolute, "floor": np.floor, "exp": np.exp, "log": np.log,
    "log1p": np.log1p, "expm1": np.expm1, "sqrt": np.sqrt, "tanh": np.tanh, "sin": np.sin, "cos": np.cos,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
    "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "isfinite": np.isfinite,
}  # fmt: skip


class Step:
    """One instruction with its data types: what it computes in, what it gives, where its arguments come from."""

    __slots__ = ("compute", "op", "out", "refs", "result")

    def __init__(self, op: str, refs: Sequence[Ref], compute: DType, result: DType, out: int) -> None:
        self.op, self.refs, self.compute, self.result, self.out = op, tuple(refs), compute, result, out


class Plan:
    """The steps of a piece of code for operands of given data types, with registers by last use."""

    def __init__(self, code: Code, dtypes: tuple[DType, ...], kinds: tuple[str, ...]) -> None:
        self.code, self.dtypes = code, dtypes
        literals = [Literal({"bool": False, "int": 0, "float": 0.0}[k]) for k in kinds]
        self.types = code.types(dtypes, literals)
        self.results = code.result_types(dtypes, literals)
        self.last_read = self._last_reads()
        self.steps: list[Step] = []
        self.registers = 0
        free: list[int] = []
        for i, (op, *refs) in enumerate(code.instructions):
            arrays, weak = [], []
            for where, k in refs[1:] if op == "select" else refs:
                weak.append(kinds[k]) if where == "l" else arrays.append(dtypes[k] if where == "a" else self.types[k])
            compute = self.types[i]
            if op in COMPARISONS:
                compute = promote(arrays, weak)
            elif op in ("isfinite", "not"):
                compute = arrays[0]
            elif op in ("and", "or"):
                compute = bool_
            out = free.pop() if free else self.registers
            self.registers = max(self.registers, out + 1)
            self.steps.append(Step(op, refs, compute, self.types[i], out))
            # Arguments are freed after the result has its register: no step writes over what it reads.
            free += [self.steps[k].out for w, k in dict.fromkeys(refs) if w == "t" and self.last_read[w, k] == i]
            if ("t", i) not in self.last_read:
                free.append(out)
        self.scratch = 2 + any(s.op == "erf" for s in self.steps) * 4  # casts, an inverted condition, erf

    def _last_reads(self) -> dict[Ref, int]:
        last: dict[Ref, int] = {}
        for i, (_, *refs) in enumerate(self.code.instructions):
            last.update(dict.fromkeys(refs, i))
        last.update(dict.fromkeys(self.code.results, len(self.code.instructions)))
        return last


@lru_cache(maxsize=4096)
def plan(code: Code, dtypes: tuple[DType, ...], kinds: tuple[str, ...]) -> Plan:
    """The plan for a piece of code; literals count by kind only."""
    return Plan(code, dtypes, kinds)


def workspace_size(code: Code, literals: Sequence[Literal], operands: Sequence[TensorType]) -> int:
    """Bytes of scratch for running ``code`` over operands of these types."""
    p = plan(code, tuple(t.dtype for t in operands), tuple(x.kind for x in literals))
    block = min(BLOCK, TensorType(broadcast(t.shape for t in operands)).size)
    small = sum(t.size < EXPAND for t in operands)
    return (p.registers + p.scratch + small) * aligned(8 * block)


class Scratch:
    """Hands out pieces of a workspace, each of one block."""

    def __init__(self, workspace: np.ndarray | None, nbytes: int, block: int) -> None:
        self.memory = np.empty(nbytes, np.uint8) if workspace is None else workspace
        self.block = aligned(8 * block)

    def array(self, index: int, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
        t = TensorType(shape, dtype)
        start = index * self.block
        return self.memory[start : start + t.nbytes].view(dtype.storage).reshape(shape)


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
    shape = next((o.shape for o in outputs if o is not None), np.broadcast_shapes(*(a.shape for a in inputs)))
    nbytes = workspace_size(code, literals, [TensorType(a.shape, d) for a, d in zip(inputs, dtypes)])
    wanted = [o for o in outputs if o is not None]
    flat = coalesce(shape, [*(np.broadcast_to(a, shape) for a in inputs), *wanted])
    spread, wanted = flat[: len(inputs)], flat[len(inputs) :]
    binder = Binder(p, literals, Scratch(workspace, nbytes, min(BLOCK, int(np.prod(shape)))))
    results = iter(wanted)
    targets = [None if o is None else next(results) for o in outputs]
    calls: list[Call] = []
    blocks = list(block_slices(flat[0].shape))
    spread = [binder.expand(calls, a, blocks, source.size) for a, source in zip(spread, inputs)]
    for index in blocks:
        part = [a.for_block(index) if isinstance(a, Expanded) else a[index] for a in spread]
        calls += binder.block(part, [None if t is None else t[index] for t in targets])
    return calls


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
    new = tuple(a[0] for a in axes)
    views = [
        np.lib.stride_tricks.as_strided(a, new, tuple(axis[1][k] for axis in axes))
        for k, a in enumerate(arrays)
    ]
    return views if group is None else (views, [a[2] for a in axes])


def block_slices(shape: tuple[int, ...], limit: int = BLOCK) -> Iterator[tuple[slice, ...]]:
    """Index tuples that cut ``shape`` into blocks of at most ``limit`` elements, whole along the inner axes."""
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
    """An operand that repeats along the first axis, written out for one block so that its rows are not walked."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory

    def for_block(self, index: tuple[slice, ...]) -> np.ndarray:
        return self.memory[: index[0].stop - index[0].start]


class Binder:
    """Lays a plan's steps over the arrays of one block after another."""

    def __init__(self, p: Plan, literals: Sequence[Literal], scratch: Scratch) -> None:
        self.plan, self.scratch = p, scratch
        self.values = [x.value for x in literals]
        self.expanded = 0

    def expand(self, calls: list[Call], a: np.ndarray, blocks: list[tuple[slice, ...]], size: int) -> Any:
        """``a``, or its expansion where it is a short row that repeats; the calls to fill it are added."""
        if a.ndim != 2 or a.strides[0] != 0 or not 1 < size < EXPAND or a.shape[0] < 8 or a.strides[1] == 0:
            return a
        rows = blocks[0][0].stop
        slot = self.plan.registers + self.plan.scratch + self.expanded
        self.expanded += 1
        dtype = next(d for d in self.plan.dtypes if d.storage == a.dtype)
        memory = self.scratch.array(slot, dtype, (rows, a.shape[1]))
        calls.append(partial(np.copyto, memory, a[:rows]))
        return Expanded(memory)

    def block(self, inputs: list[np.ndarray], targets: list[np.ndarray | None]) -> list[Call]:
        """The calls for one block."""
        p, shape = self.plan, inputs[0].shape
        values: dict[Ref, np.ndarray] = {("a", k): a for k, a in enumerate(inputs)}
        calls: list[Call] = []
        late: list[Call] = []
        place = self._places(inputs, targets, late, shape)
        for i, step in enumerate(p.steps):
            out = place.get(i)
            if out is None:
                out = self.scratch.array(step.out, step.result, shape)
            self._emit(calls, step, out, values)
            values["t", i] = out
        for j, ref in enumerate(p.code.results):
            target = targets[j]
            if target is not None and (ref not in values or values[ref] is not target):
                source = np.asarray(self.values[ref[1]]) if ref[0] == "l" else values[ref]
                late.append(partial(np.copyto, target, source, "unsafe"))
        return calls + late

    def _places(
        self,
        inputs: list[np.ndarray],
        targets: list[np.ndarray | None],
        late: list[Call],
        shape: tuple[int, ...],
    ) -> dict[int, np.ndarray]:
        """Which instructions may write straight into a target.

        A target that lies over an operand may be written only after the last instruction that reads the operand,
        and by that instruction only if it is a ufunc, or a select whose operand ``a`` lies exactly there.
        """
        p = self.plan
        place: dict[int, np.ndarray] = {}
        for j, (where, i) in enumerate(p.code.results):
            target = targets[j]
            if where != "t" or target is None or i in place:
                continue
            covered = [k for k, a in enumerate(inputs) if np.may_share_memory(a, target)]
            step = p.steps[i]
            last = max((p.last_read.get(("a", k), -1) for k in covered), default=-1)
            same = all(inputs[k].strides == target.strides for k in covered)
            read_now = [k for k in covered if ("a", k) in step.refs]
            casts = any(p.dtypes[k] is not step.compute or step.result is not step.compute for k in read_now)
            composed = step.op in ("select", "erf", "sigmoid", "rsqrt") and bool(read_now)
            if composed and step.op == "select" and [("a", k) for k in read_now] == [step.refs[1]]:
                composed = step.refs.count(step.refs[1]) > 1
            if last < i or (last == i and same and not composed and not casts):
                # Two results may cover each other's operands: later steps must not read what this one overwrites.
                place[i] = target
        return place

    def _argument(self, calls: list[Call], step: Step, n: int, values: dict[Ref, np.ndarray], dtype: DType) -> Any:
        """Argument ``n`` as an array of ``dtype``: a literal, the value itself, or a cast of it in scratch."""
        where, k = step.refs[n]
        if where == "l":
            return np.asarray(self.values[k]).astype(dtype.storage)
        value = values[where, k]
        if value.dtype == dtype.storage:
            return value
        cast = self.scratch.array(self.plan.registers + n % 2, dtype, value.shape)
        calls.append(partial(np.copyto, cast, value, "unsafe"))
        return cast

    def _emit(self, calls: list[Call], step: Step, out: np.ndarray, values: dict[Ref, np.ndarray]) -> None:
        op = step.op
        if op == "select":
            self._select(calls, step, out, values)
            return
        args = [self._argument(calls, step, n, values, step.compute) for n in range(len(step.refs))]
        if op.startswith("cast:"):
            calls.append(partial(np.copyto, out, self._raw(step.refs[0], values), "unsafe"))
        elif op == "relu":
            calls.append(partial(np.maximum, args[0], step.compute.storage.type(0), out=out))
        elif op == "sigmoid":  # 1 / (1 + exp(-x)): exact at both ends, where exp overflows 1 / inf is 0
            one = step.compute.storage.type(1)
            calls += [partial(np.negative, args[0], out), partial(np.exp, out, out)]
            calls += [partial(np.add, out, one, out), partial(np.divide, one, out, out)]
        elif op == "rsqrt":
            one = step.compute.storage.type(1)
            calls += [partial(np.sqrt, args[0], out), partial(np.divide, one, out, out)]
        elif op == "erf":
            first = self.plan.registers + 2
            wide = float32 if step.compute is float16 else step.compute
            pieces = [self.scratch.array(first + i, wide, out.shape) for i in range(4)]
            calls += erf_steps(args[0], out, pieces)
        elif op == "floor" and step.compute.kind != "float":
            calls.append(partial(np.copyto, out, args[0]))
        else:
            calls.append(partial(UFUNCS[op], *args, out=out))

    def _raw(self, ref: Ref, values: dict[Ref, np.ndarray]) -> np.ndarray:
        return np.asarray(self.values[ref[1]]) if ref[0] == "l" else values[ref]

    def _select(self, calls: list[Call], step: Step, out: np.ndarray, values: dict[Ref, np.ndarray]) -> None:
        condition, a, b = (self._raw(r, values) for r in step.refs)
        if condition.dtype != np.bool_:
            mask = self.scratch.array(self.plan.registers, bool_, out.shape)
            calls.append(partial(np.not_equal, condition, 0, mask))
            condition = mask
        if np.may_share_memory(out, a) and a.ndim:  # in place over a: only what is not a is written
            inverted = self.scratch.array(self.plan.registers + 1, bool_, out.shape)
            calls.append(partial(np.logical_not, condition, inverted))
            calls.append(partial(np.copyto, out, b, "unsafe", inverted))
        else:
            calls.append(partial(np.copyto, out, b, "unsafe"))
            calls.append(partial(np.copyto, out, a, "unsafe", condition))
