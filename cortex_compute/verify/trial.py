"""One case on one backend, in every variation.

A variation is a way to lay operands, outputs and workspace into memory and to launch: strided operands, an
output over the operand whose memory it may take, unwanted outputs, a worker stream.  All memory is poisoned
before a run.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import ROW_MAJOR, Backend, Layout, Offer, Operand, Stream
from cortex_compute.types import DType, TensorType, bfloat16, dtype, float32, uint8
from cortex_compute.verify import tolerances
from cortex_compute.verify.bfloat16 import loaded, stored
from cortex_compute.verify.case import Case
from cortex_compute.verify.compare import WRONG, distance
from cortex_compute.verify.placement import Placed, backwards, spaced, turned
from cortex_compute.verify.reference import expected, magnitudes
from cortex_compute.verify.result import Result
from cortex_compute.verify.views import view_errors

Strides = Callable[[tuple[int, ...]], tuple[int, ...]]


@dataclass(frozen=True)
class Variation:
    """How operands and outputs lie, and on which stream the kernel runs."""

    name: str
    strides: Strides | None = None  # of every operand; None: as the case has them
    over: tuple[tuple[int, int], ...] = ()  # (operand, output) pairs that share memory
    omitted: tuple[int, ...] = ()
    spaced_outputs: bool = False
    worker: bool = False


class Trial:
    """One case in one data type on one backend."""

    def __init__(self, backend: Backend, case: Case, d: DType, streams: tuple[Stream, Stream]) -> None:
        self.backend, self.case, self.streams = backend, case, streams
        self.device = backend.devices()[0]
        self.primitive = case.primitive
        rng = np.random.default_rng(zlib.crc32(case.name.encode()))
        made = [np.asarray(a) for a in case.operands(rng, float32 if d is bfloat16 else d)]
        self.strides = [tuple(s // a.itemsize for s in a.strides) for a in made]
        self.types = [TensorType(a.shape, dtype(a.dtype)) for a in made]
        self.narrow = d is bfloat16
        if self.narrow:
            self.types = [_narrowed(self.primitive, k, t) for k, t in enumerate(self.types)]
        self.operands = [stored(a) if t.dtype is bfloat16 else a for a, t in zip(made, self.types)]
        self.residual_layout = ROW_MAJOR  # as the forward's offer states it
        self.worst, self.detail, self.peak = 0.0, "", 0

    def run(self, name: str) -> Result:
        start = time.perf_counter()
        try:
            with np.errstate(all="ignore"):
                self.prepare()
                if self.primitive.view:
                    x = _values(self.operands[0], self.types[0].dtype)
                    for value, detail in view_errors(self.primitive, x, self.expected[0]):
                        self._note(value, detail)
                else:
                    for variation in self._variations():
                        self._vary(variation)
        except Exception as error:  # whatever a kernel raises is a result of the suite, not an end of it
            self._note(WRONG, f"{type(error).__name__}: {error}")
        return Result(name, self.worst, time.perf_counter() - start, self.peak, self.detail)

    def prepare(self) -> None:
        """The expected results, and the operands with a residual that the backend made."""
        self.results = self.primitive.infer(*self.types)
        values = [_values(a, t.dtype) for a, t in zip(self.operands, self.types)]
        self.expected = [np.asarray(a) for a in expected(self.primitive, values)]
        self.magnitudes = [np.asarray(a) for a in magnitudes(self.primitive, values)]
        if self.case.forward is not None:
            self._residual(*self.case.forward)

    def _note(self, value: float, detail: str) -> None:
        if value > self.worst or (value > 1 and not self.detail):
            self.worst, self.detail = value, detail

    def _compare(self, what: str, j: int, actual: np.ndarray) -> None:
        d = self.results[j].dtype
        value, where = distance(
            _values(actual, d),
            self.expected[j],
            self.magnitudes[j],
            d,
            self._bound(d),
            self.case.signed_zeros,
        )
        self._note(value, f"{what}: output {j} {where}" if value > 1 else "")

    def _bound(self, result: DType) -> float:
        """What is allowed of a result's magnitude.  What is not written as bfloat16 is float32 meanwhile,
        but where numbers are rounded on the way."""
        types = [t.dtype for t in (*self.types, *self.results)]
        if result is not bfloat16 and not self.primitive.rounds:
            types = [float32 if d is bfloat16 else d for d in types]
        return tolerances.factor(self.primitive) * max(d.eps for d in types)

    # The ways to run a kernel.

    def _variations(self) -> Iterator[Variation]:
        yield Variation("inline")
        yield Variation("worker", worker=True)
        for way in (turned,) if self.narrow else (turned, spaced, backwards):
            yield Variation(f"operands {way.__name__}", strides=way)
        offer = self._offer([Operand(t, self._layout(t)) for t in self.types])
        if offer is None:
            return
        if offer.strided_outputs:
            yield Variation("outputs spaced", spaced_outputs=True)
        yield from (Variation(f"output over operand {pair}", over=(pair,)) for pair in offer.reuse)
        for name, pairs in (("all outputs", offer.reuse), ("all outputs, last first", offer.reuse[::-1])):
            if len(over := _matching(pairs)) > 1:
                yield Variation(f"{name} over operands {over}", over=over)
        visible = [j for j, t in enumerate(self.results) if t != OPAQUE]
        if self.primitive.residual:
            yield Variation("residual unwanted", omitted=(len(visible),))
        if len(visible) > 1:
            for j in visible:
                yield Variation(f"output {j} unwanted", omitted=(j,))
                yield Variation(f"only output {j}", omitted=tuple(i for i in visible if i != j))

    def _layout(self, t: TensorType, placed: Placed | None = None) -> Layout:
        return self.residual_layout if t == OPAQUE else placed.layout if placed else ROW_MAJOR

    def _offer(self, operands: Sequence[Operand]) -> Offer | None:
        answer = self.backend.offer(self.primitive, operands)
        return answer if isinstance(answer, Offer) else None

    def _vary(self, v: Variation) -> None:
        """Lays everything out, runs, and compares; a refusal of strided operands is allowed."""
        placed = [self._place(k, v) for k in range(len(self.types))]
        operands = [Operand(t, self._layout(t, p)) for t, p in zip(self.types, placed)]
        offer = self._offer(operands)
        if offer is None:
            if all(o.layout.strides is None for o in operands):
                self._note(WRONG, f"refused: {self.backend.offer(self.primitive, operands)}")
            return
        if not set(v.over) <= set(offer.reuse):
            return
        stream = self.streams[v.worker]
        for operand, a in zip(placed, self.operands):
            operand.write(stream, a)
        outputs = self._outputs(offer, placed, v)
        workspace = Placed(self.device, TensorType((offer.workspace,), uint8))
        shared = {k for k, _ in v.over} | offer.works_in
        self.peak = max(self.peak, sum(p.nbytes for p in [*placed, workspace, *outputs] if p))
        read = range(len(placed)) if offer.reads is None else offer.reads
        launch = offer.build().bind(
            [p.array if k in read else None for k, p in enumerate(placed)],
            [p and p.array for p in outputs],
            workspace.array,
        )
        for _ in range(1 if v.over else 2):  # a kernel keeps nothing from one run to the next
            workspace.poison(stream)
            for j, p in enumerate(outputs):
                if p is not None and j not in {j for _, j in v.over}:
                    p.poison(stream)
            with stream.active():
                launch(stream)
        if not (v.over or v.worker or v.omitted or v.spaced_outputs):
            self._at_once(v, offer, [p.array for p in placed])
        self._check(v, stream, placed, outputs, workspace, shared)

    def _at_once(self, v: Variation, offer: Offer, arrays: Sequence[np.ndarray]) -> None:
        """What eager code would call for small operands: the same results, in new memory."""
        direct = offer.direct()
        if direct is None:
            return
        for j, (t, a) in enumerate(zip(self.results, direct(self.primitive, arrays))):
            if type(a) is not np.ndarray or (a.shape, a.dtype) != (t.shape, t.dtype.storage):
                self._note(WRONG, f"{v.name}, direct: output {j} is {a!r:.60}, expected {t}")
            elif any(np.may_share_memory(a, x) for x in arrays):
                self._note(WRONG, f"{v.name}, direct: output {j} lies in an operand's memory")
            else:
                self._compare(f"{v.name}, direct", j, a)

    def _check(
        self,
        v: Variation,
        stream: Stream,
        placed: Sequence[Placed],
        outputs: Sequence[Placed | None],
        workspace: Placed,
        shared: set[int],
    ) -> None:
        for j, p in enumerate(outputs):
            if p is None:
                continue
            actual, clean = p.read(stream)
            if not clean:
                self._note(WRONG, f"{v.name}: wrote beside output {j}")
            if self.results[j] != OPAQUE:
                self._compare(v.name, j, actual)
        for k, p in enumerate(placed):
            actual, clean = p.read(stream)
            if k not in shared and not (clean and actual.tobytes() == self.operands[k].tobytes()):
                self._note(WRONG, f"{v.name}: operand {k} was changed")
        if not workspace.read(stream)[1]:
            self._note(WRONG, f"{v.name}: wrote beside the workspace of {workspace.type.size} bytes")

    def _place(self, k: int, v: Variation) -> Placed:
        t = self.types[k]
        if t == OPAQUE:  # a residual, which always lies as the forward left it
            return Placed(self.device, TensorType(self.operands[k].shape, uint8))
        if v.strides is not None:
            strides = v.strides(t.shape)
        elif v.over:
            strides = None
        else:
            strides = self.strides[k]
        return Placed(self.device, t, strides)

    def _outputs(self, offer: Offer, placed: Sequence[Placed], v: Variation) -> list[Placed | None]:
        over = {j: k for k, j in v.over}
        outputs: list[Placed | None] = []
        for j, t in enumerate(self.results):
            kind = TensorType((offer.residual,), uint8) if t == OPAQUE else t
            if j in v.omitted:
                outputs.append(None)
            elif j in over:
                outputs.append(Placed(self.device, kind, over=placed[over[j]]))
            else:
                outputs.append(Placed(self.device, kind, spaced(kind.shape) if v.spaced_outputs else None))
        return outputs

    def _residual(self, forward: Primitive, which: tuple[int, ...]) -> None:
        """Runs the forward primitive and puts its residual where this case has an empty uint8 operand."""
        types = [self.types[k] for k in which]
        offer = self.backend.offer(forward, [Operand(t) for t in types])
        if not isinstance(offer, Offer):
            raise RuntimeError(f"{forward} was refused: {offer}")
        stream = self.streams[0]
        placed = [Placed(self.device, t) for t in types]
        for p, k in zip(placed, which):
            p.write(stream, self.operands[k])
        results = list(forward.infer(*types))
        results[-1] = TensorType((offer.residual,), uint8)
        outputs = [Placed(self.device, t) for t in results]
        workspace = Placed(self.device, TensorType((offer.workspace,), uint8))
        launch = offer.build().bind([p.array for p in placed], [p.array for p in outputs], workspace.array)
        with stream.active():
            launch(stream)
        self.residual_layout = offer.residual_layout
        k = self.types.index(OPAQUE)
        self.operands[k] = outputs[-1].read(stream)[0]


def _narrowed(primitive: Primitive, k: int, t: TensorType) -> TensorType:
    """The type of operand ``k``, where those that may be of bfloat16 are."""
    wide = bool(primitive.wide) and primitive.given[k] in primitive.wide
    return t if wide or t.dtype is not float32 else TensorType(t.shape, bfloat16)


def _values(a: np.ndarray, d: DType) -> np.ndarray:
    return loaded(a) if d is bfloat16 else a


def _matching(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Pairs in order, each operand and each output at most once."""
    taken: list[tuple[int, int]] = []
    for k, j in pairs:
        if all(k != a and j != b for a, b in taken):
            taken.append((k, j))
    return tuple(taken)
