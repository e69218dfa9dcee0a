"""Rnn, Lstm and Gru by cuDNN: one call walks all steps.

cuDNN wants all weights in one piece of memory, in an order of its own, which a generated kernel writes before
each call; the gradients come back out of such a piece.  It works in what its forward pass left, so that a
gradient has a copy of that: the residual stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.primitives.base import OPAQUE
from cortex_compute.primitives.recurrence import (
    Gated,
    Gradient,
    Gru,
    GruGrad,
    Lstm,
    LstmGrad,
    Recurrence,
    Rnn,
    RnnGrad,
)
from cortex_compute.protocol import ROW_MAJOR, Layout, Offer, Operand, Refusal, row_major
from cortex_compute.types import float32, float64
from cortex_gpu.backend import Gpu, Lacking, offers
from cortex_gpu.composed import Composed
from cortex_gpu.cudnn import rnn
from cortex_gpu.cudnn.library import Library, UnsupportedError
from cortex_gpu.cudnn.rnn import GATES, Batch, Network, States
from cortex_gpu.kernels import (
    BLOCK,
    Call,
    In,
    Memory,
    Out,
    Place,
    Source,
    Work,
    blocks,
    kernel,
    seconds,
    together,
)
from cortex_gpu.memory import ALIGNMENT, aligned
from cortex_gpu.prelude import header, index

RESIDUAL = Layout(key="cudnn")

# The rows of w, those of u, the biases, and those of h u, which only a Gru's third gate has.  Matrices begin
# at m and are turned, vectors begin at v; first those of all gates for x, then those for h.
MOVE = r"""
extern "C" __global__ void NAME(Storage* space, Storage* w, Storage* u, Storage* b, Storage* n, STARTS
                                int inputs, int units, Index count) {
  const i64 m[] = {MATRICES}, v[] = {VECTORS};
  const Index columns = (Index)GATES * units, step = (Index)gridDim.x * blockDim.x;
  #pragma unroll 1  // else each thread would divide, to know how often it goes round
  for (Index e = (Index)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step) {
    const Index row = e / columns;
    const int column = (int)(e - row * columns), gate = column / units, j = column - gate * units;
    const i64 h = row - inputs;
    if (h < 0) MOVE(space[m[gate] + (i64)j * inputs + row], w, e)
    else if (h < units) MOVE(space[m[GATES + gate] + (i64)j * units + h], u, h * columns + column)
    else if (h == units) MOVE(space[v[gate] + j], b, column)
    else LAST
  }
}
"""
PACK = (
    "\n#define MOVE(at, from, k) at = from[k];\n",
    "space[v[GATES + gate] + j] = n && gate == 2 ? n[j] : 0;",
)
UNPACK = (
    "\n#define MOVE(at, to, k) { if (to) to[k] = at; }\n",
    "if (n && gate == 2) n[j] = space[v[GATES + 2] + j];",
)

PREPARE = r"""
extern "C" __global__ void recurrence_prepare(const u64* x, u64* y, i64 count, u64* zeros, i64 cleared) {
  const i64 step = (i64)gridDim.x * blockDim.x;
  #pragma unroll 1
  for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < count || e < cleared; e += step) {
    if (e < count) y[e] = x[e];
    if (e < cleared) zeros[e] = 0;
  }
}
"""


class Walk(Composed):
    """A recurrence as cuDNN has it, and the scratch that both directions take."""

    def __init__(self, p: Recurrence, operands: Sequence[Operand], gpu: Gpu) -> None:
        super().__init__(gpu)
        types = {name: o.type for name, o in zip(p.given, operands)}
        self.p, self.at = p, {name: In(k) for k, name in enumerate(p.given)}
        count, steps, inputs = types["x"].shape
        self.y_bytes = types["x"].nbytes // max(1, inputs) * types["u"].shape[0]
        self.library: Library = gpu.cudnn
        mode = p.activation if isinstance(p, Rnn) else "lstm" if p.cells else "gru"
        self.network = Network(mode, inputs, types["u"].shape[0], dtype=types["x"].dtype, tf32=gpu.tf32)
        self.batch = Batch((steps,) * count, steps)
        with gpu.current():
            self.weight_bytes = rnn.weight_bytes(self.library, self.network)
            sizes = [rnn.scratch_bytes(self.library, self.network, self.batch, k) for k in (True, False)]
        self.work_bytes, self.reserve_bytes = max(work for work, _ in sizes), sizes[0][1]
        self.weights, self.work = self.space(self.weight_bytes), self.space(self.work_bytes)
        flops, nbytes = p.flops(*types.values()), p.nbytes(*types.values())
        self.seconds = seconds(nbytes + 2 * self.reserve_bytes, flops, steps)

    @property
    def sources(self) -> Sequence[Source]:
        return (self._source("recurrence_pack", *PACK),)

    def states(self, hidden: Place, cell: Place, memory: Memory) -> States:
        return States(memory.value(hidden), memory.value(cell) if self.p.cells else 0)

    def first(self, memory: Memory) -> States:
        return self.states(self.at["h0"], self.at.get("c0", self.at["h0"]), memory)

    def here(self, place: Work, memory: Memory) -> Work:
        """The place moved to where the device's address is aligned as cudaMalloc's are."""
        return Work(place.offset + -memory.value(Work()) % ALIGNMENT)

    def given(self, place: Work, nbytes: int, memory: Memory) -> rnn.Memory:
        return rnn.Memory(nbytes, memory.value(self.here(place, memory)))

    def result(self, spare: Work, memory: Memory) -> int:
        """Where output 0 goes, which cuDNN always writes."""
        return int(memory.value(Out(0)) or memory.value(self.here(spare, memory)))

    def pack(self, memory: Memory) -> Callable[[], None]:
        """Writes the weights in cuDNN's order."""
        places = [self.at.get(name) for name in ("w", "u", "b", "n")]
        return self._moved("recurrence_pack", PACK, self.weights, places, memory)

    def _moved(
        self, name: str, moved: tuple[str, str], space: Work, places: Sequence[Place | None], memory: Memory
    ) -> Callable[[], None]:
        network, item = self.network, self.network.dtype.itemsize
        gates = GATES[network.mode]
        matrices, vectors = ([0] * (2 * len(gates)) for _ in range(2))
        for x in rnn.parameters(self.library, network, self.given(space, self.weight_bytes, memory)):
            number = gates.index(x.gate) + (len(gates) if x.of == "recurrent" else 0)
            (vectors if x.bias else matrices)[number] = x.start // item
        starts = map(np.int64, (*matrices, *vectors))
        sizes = map(np.int32, (network.inputs, network.units))
        count = self._count
        arguments = (self.here(space, memory), *places, *starts, *sizes, index(count)[1](count))
        return Call(self._source(name, *moved), blocks(count), BLOCK, arguments).bind(memory)

    @property
    def _count(self) -> int:
        """Numbers among all weights."""
        n = self.network
        return (n.inputs + n.units + 2) * len(GATES[n.mode]) * n.units

    def _source(self, name: str, macro: str, last: str) -> Source:
        gates = len(GATES[self.network.mode])
        names = [[f"{x}{k}" for k in range(2 * gates)] for x in "mv"]
        text = MOVE.replace("NAME", name).replace("LAST", last)
        text = text.replace("STARTS", "".join(f"i64 {x}, " for x in (*names[0], *names[1])))
        text = text.replace("MATRICES", ", ".join(names[0])).replace("VECTORS", ", ".join(names[1]))
        return Source(
            name, header(self.network.dtype, GATES=gates, Index=index(self._count)[0]) + macro + text
        )


class Forward(Walk):
    """The step forward.  Where nobody wants the residual it is a pass that leaves none."""

    def __init__(self, p: Recurrence, operands: Sequence[Operand], gpu: Gpu) -> None:
        super().__init__(p, operands, gpu)
        self.y = self.space(self.y_bytes)  # where nobody else wants it

    def bind(self, memory: Memory) -> Callable[[], None]:
        residual = memory.value(Out(2 + self.p.cells))
        run = rnn.forward(
            self.library, self.network, self.batch, memory.value(self.at["x"]), self.result(self.y, memory),
            self.first(memory), self.states(Out(1), Out(2), memory),
            self.given(self.weights, self.weight_bytes, memory),
            self.given(self.work, self.work_bytes, memory),
            rnn.Memory(self.reserve_bytes if residual else 0, residual),
        )  # fmt: skip
        return together([self.pack(memory), run])


class Backward(Walk):
    """The step backward."""

    def __init__(self, p: Gradient, operands: Sequence[Operand], gpu: Gpu) -> None:
        super().__init__(p, operands, gpu)
        self.results = {name: Out(k) for k, name in enumerate(p.weights)}
        self.reserve, self.slopes = self.space(self.reserve_bytes), self.space(self.weight_bytes)
        self.dx = self.space(operands[0].type.nbytes)  # where nobody else wants it

    @property
    def sources(self) -> Sequence[Source]:
        prepare = Source("recurrence_prepare", header(self.network.dtype) + PREPARE)
        return (*super().sources, self._source("recurrence_unpack", *UNPACK), prepare)

    def bind(self, memory: Memory) -> Callable[[], None]:
        x, y, dy = (memory.value(self.at[name]) for name in ("x", "y", "dy"))
        first = self.first(memory)
        last = self.states(self.at["dh"], self.at.get("dc", self.at["dh"]), memory)
        before = self.states(self.results["h0"], self.results.get("c0", self.results["h0"]), memory)
        weights = self.given(self.weights, self.weight_bytes, memory)
        work = self.given(self.work, self.work_bytes, memory)
        reserve = self.given(self.reserve, self.reserve_bytes, memory)
        slopes = self.given(self.slopes, self.weight_bytes, memory)
        common = self.library, self.network, self.batch
        to_data = rnn.backward_data(
            *common, y, dy, self.result(self.dx, memory), first, last, before, weights, work, reserve
        )
        to_weights = rnn.backward_weights(*common, x, y, first.hidden, slopes, work, reserve)
        places = [self.results.get(name) for name in ("w", "u", "b", "n")]
        unpack = self._moved("recurrence_unpack", UNPACK, self.slopes, places, memory)
        return together([self.pack(memory), self._prepare(memory), to_data, to_weights, unpack])

    def _prepare(self, memory: Memory) -> Callable[[], None]:
        """A copy of what the forward pass left; zeros, to which cuDNN adds the gradients of weights."""
        words, cleared = (aligned(n) // 8 for n in (self.reserve_bytes, self.weight_bytes))
        places = self.at["residual"], self.here(self.reserve, memory), np.int64(words)
        arguments = (*places, self.here(self.slopes, memory), np.int64(cleared))
        return Call(self.sources[-1], blocks(max(words, cleared)), BLOCK, arguments).bind(memory)


@offers(Rnn, way="cudnn")
@offers(Lstm, way="cudnn")
@offers(Gru, way="cudnn")
def forward(p: Recurrence, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    return _offer(p, operands, gpu, Forward)


@offers(RnnGrad, way="cudnn")
@offers(LstmGrad, way="cudnn")
@offers(GruGrad, way="cudnn")
def gradient(p: Gradient, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    return _offer(p, operands, gpu, Backward)


def _offer(
    p: Recurrence, operands: Sequence[Operand], gpu: Gpu, kind: Callable[..., Forward | Backward]
) -> Offer | Refusal:
    if reason := _unfit(p, operands, gpu):
        return Refusal(reason)
    try:
        walk = kind(p, operands, gpu)
    except UnsupportedError as error:
        return Lacking(str(error))
    results = p.infer(*(o.type for o in operands))
    given = tuple(o.layout for o in operands)
    made = tuple(RESIDUAL if t == OPAQUE else ROW_MAJOR for t in results)
    return kernel(
        lambda: [walk],
        "cudnn",
        layouts=(*given, *made),
        workspace=walk.nbytes + ALIGNMENT,
        residual=0 if isinstance(p, Gradient) else aligned(walk.reserve_bytes),
        cost=walk.seconds,
    )


def _unfit(p: Recurrence, operands: Sequence[Operand], gpu: Gpu) -> str:
    """Why cuDNN cannot have this, or nothing."""
    if gpu.deterministic:
        return "cuDNN does not promise equal bits of a recurrence"
    if p.masked:
        return "cuDNN knows lengths of sequences, on the host, and no masks"
    if p.reverse:
        return "cuDNN walks backwards only beside forwards"
    if "p" in p.weights:
        return "an Lstm with a projection is not cuDNN's here"
    if isinstance(p, Gated) and (p.slope is not None or p.activation != "tanh"):
        return "cuDNN's gates are sigmoids and tanh"
    if isinstance(p, Gru) and not p.reset_after:
        return "cuDNN's Gru resets after the product"
    if operands[0].type.dtype not in (float32, float64):
        return "cuDNN would have biases and cell states in 16 bits, which are float32 here"
    for name, operand in zip(p.given, operands):
        if operand.type == OPAQUE:
            if operand.layout.key not in ("", RESIDUAL.key):
                return f"cuDNN cannot read the residual of {operand.layout.key}"
        elif 0 in operand.type.shape:
            return "cuDNN knows no empty arrays"
        elif not row_major(operand):
            return f"cuDNN wants {p.name}'s {name} row-major"
    return ""
