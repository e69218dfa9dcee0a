"""Recurrent layers: oneDNN's rnn, lstm, gru and lbr_gru walk whole sequences in one call.

What oneDNN calls its reference here is, in float32, a product and a generated kernel for each step, and fast.
It reads and writes a batch of sequences as it lies.  Its gradients want the weights turned, (gate, out, in);
its GRU has the first two gates the other way round, and the second bias behind the others.  What a forward
keeps, several times its gates, is for its own gradient alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Union

import numpy as np

from cortex_compute.numpy_backend.elementwise import sequence
from cortex_compute.numpy_backend.memory import aligned
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import MemoryDesc, PrimitiveDesc, strided
from cortex_compute.onednn_backend.fallback import Arrays
from cortex_compute.onednn_backend.matrix import settled
from cortex_compute.onednn_backend.recipe import Arguments, HostCall, In, Out, Part, Recipe, Where, seconds
from cortex_compute.primitives.recurrence import Gated, Gru, GruGrad, Lstm, LstmGrad, Rnn, RnnGrad
from cortex_compute.protocol import ROW_MAJOR, Layout, Offer, Operand, Refusal, row_major
from cortex_compute.types import contiguous_strides, float32

Recurrent = Union[Rnn, Lstm, Gru]
Descs = dict[str, MemoryDesc]
SWAPPED = 1, 0, 2  # of reset, update, candidate, oneDNN has the update first
CALLS = 0  # NumPy makes several calls for each step, and its cost counts none of them


def _name(p: Recurrent) -> str:
    if isinstance(p, Gru):
        return "lbr_gru" if p.reset_after else "gru"
    return "lstm" if isinstance(p, Lstm) else "vanilla_rnn"


def _unfit(p: Recurrent, operands: Sequence[Operand]) -> str:
    """Why operands are refused, if they are."""
    if p.masked:
        return "oneDNN's recurrence knows no mask"
    if isinstance(p, Lstm) and p.projected:
        return "oneDNN has no gradient of an LSTM with a projection"
    if p.activation == "relu":
        return "oneDNN's ReLU hides NaN" if isinstance(p, Rnn) else "oneDNN's cells have tanh alone"
    if isinstance(p, Gated) and p.slope is not None:
        return "oneDNN's gates are sigmoids, not hard ones"
    if operands[0].type.dtype is not float32:
        return "oneDNN's recurrence is used in float32 alone"
    if not all(row_major(o) for o in operands if not o.layout.key):
        return "oneDNN's recurrence wants row-major operands"
    return ""


class Walk:
    """Forward and backward of one recurrence, and how their operands lie."""

    def __init__(self, p: Recurrent, operands: Sequence[Operand]) -> None:
        (batch, steps, size), (_, units) = operands[0].type.shape, operands[4].type.shape
        self.p, self.name, self.units = p, _name(p), units
        self.kept = Layout(key=f"onednn {self.name}")
        self.rows = {"w": size, "u": units, "b": 1, "n": 1}
        self.x, self.y = (_sequences(batch, steps, n) for n in (size, units))
        self.state, self.bias = _dense(batch, units), _dense(p.gates + self.twice, units)
        self.plain = {"w": _dense(size, p.gates, units), "u": _dense(units, p.gates, units)}
        self.turned = {"w": _turned(size, p.gates, units), "u": _turned(units, p.gates, units)}

        activation, slopes = ([c.TANH], [0.0, 0.0]) if isinstance(p, Rnn) else ([], [])
        way = [*activation, c.RIGHT_TO_LEFT if p.reverse else c.LEFT_TO_RIGHT]
        plain, turned = self._described(self.plain), self._described(self.turned)
        self.forward = PrimitiveDesc(f"{self.name}_forward", c.FORWARD_TRAINING, *way, *plain, 0, *slopes)
        self.backward = PrimitiveDesc(
            f"{self.name}_backward", c.BACKWARD, *way, *turned, *plain, c.OVERWRITE_DIFF_WEIGHTS, *slopes,
            self.forward,
        )  # fmt: skip

    def _described(self, weights: Descs) -> list[MemoryDesc | None]:
        states = [self.state] * (1 + self.p.cells)
        hole = [None] * 2 * self.p.cells  # neither peepholes nor a projection
        return [self.x, *states, *weights.values(), *hole, self.bias, self.y, *states]

    @property
    def twice(self) -> bool:
        """Whether there is a second bias."""
        return self.name == "lbr_gru"

    @property
    def swaps(self) -> bool:
        """Whether oneDNN has the gates in another order."""
        return isinstance(self.p, Gru)

    @property
    def residual(self) -> int:
        """Bytes that a forward keeps: its workspace, and the last cell state, which is not in there."""
        return self._work + self.state.nbytes * self.p.cells

    @property
    def _work(self) -> int:
        return aligned(self.forward.desc("workspace").nbytes)

    def cell(self, residual: In | Out) -> Part:
        """The last cell state, which the gradient of an LSTM reads."""
        return Part(residual, self._work)

    def operand(self, name: str) -> In:
        """Where the operand of that name lies."""
        return In(self.p.given.index(name))

    def gradient(self, name: str) -> Out:
        """Where the gradient of the operand of that name lies."""
        return Out(self.p.weights.index(name))

    def read(self, recipe: Recipe, weights: Descs) -> Arguments:
        """The operands that forward and backward share; ``weights``: how these shall lie."""
        found: Arguments = {c.SRC: (self.operand("x"), self.x), c.SRC_ITER: (self.operand("h0"), self.state)}
        if self.p.cells:
            found[c.SRC_ITER_C] = self.operand("c0"), self.state
        for number, name in ((c.WEIGHTS, "w"), (c.WEIGHTS_ITER, "u")):
            where = self._ordered(recipe, name, self.plain[name])
            found[number] = recipe.reordered(where, self.plain[name], weights[name]), weights[name]
        found[c.BIAS] = self._ordered(recipe, "b", self.bias), self.bias
        return found

    def _ordered(self, recipe: Recipe, name: str, desc: MemoryDesc) -> Where:
        """Weights or a bias with the gates in oneDNN's order."""
        if not self.swaps:
            return self.operand(name)
        there = recipe.space(desc.nbytes)
        move = partial(self._moves, name=name, place=self.operand, there=there, inward=True)
        recipe.calls.append(HostCall(move))
        return there

    def write(self, recipe: Recipe) -> tuple[Arguments, list[HostCall]]:
        """Where the gradients go, and what then puts their gates into our order."""
        found: Arguments = {c.DIFF_SRC: (self.gradient("x"), self.x)}
        found[c.DIFF_SRC_ITER] = self.gradient("h0"), self.state
        if self.p.cells:
            found[c.DIFF_SRC_ITER_C] = self.gradient("c0"), self.state
        after = []
        for number, (name, desc) in {
            c.DIFF_WEIGHTS: ("w", self.plain["w"]), c.DIFF_WEIGHTS_ITER: ("u", self.plain["u"]),
            c.DIFF_BIAS: ("b", self.bias),
        }.items():  # fmt: skip
            where: Where = recipe.space(desc.nbytes) if self.swaps else self.gradient(name)
            found[number] = where, desc
            if self.swaps:
                after.append(HostCall(partial(self._moves, name=name, place=self.gradient, there=where)))
        return found, after

    def _moves(
        self, array: Arrays, name: str, place: Callable[[str], Where], there: Where, inward: bool = False
    ) -> Callable[[], None]:
        """Copies gates between oneDNN's order, ``there``, and ours, which ``place`` has by name."""
        ours = [(name, k) for k in SWAPPED] + [("n", 0)] * (name == "b" and self.twice)
        blocks = self._blocks(array(there), name)
        pairs = [
            (blocks[:, j], self._blocks(array(place(n)), n)[:, k])
            for j, (n, k) in enumerate(ours)
            if array(place(n)).size
        ]
        return sequence([partial(np.copyto, *(pair if inward else pair[::-1])) for pair in pairs])

    def _blocks(self, memory: Any, name: str) -> Any:
        """Weights or a bias as (rows, gates, units)."""
        return memory.reshape(-1).view(np.float32).reshape(self.rows[name], -1, self.units)


def _dense(*shape: int) -> MemoryDesc:
    """Row-major, of one layer and one direction."""
    shape = 1, 1, *shape
    return strided(shape, contiguous_strides(shape))


def _turned(rows: int, gates: int, units: int) -> MemoryDesc:
    """Weights with the rows last."""
    return strided((1, 1, rows, gates, units), (rows * gates * units,) * 2 + (1, units * rows, rows))


def _sequences(batch: int, steps: int, size: int) -> MemoryDesc:
    """Sequences that lie one after the other; oneDNN names the steps first."""
    shape = steps, batch, size
    return strided(shape, settled(shape, (size, steps * size, 1)))


def _cost(p: Recurrent, operands: Sequence[Operand]) -> float:
    types = [o.type for o in operands]
    return seconds(p.flops(*types), p.nbytes(*types), CALLS)


@offers(Rnn, Lstm, Gru)
def forward(p: Recurrent, operands: Sequence[Operand]) -> Offer | Refusal:
    if reason := _unfit(p, operands):
        return Refusal(reason)
    walk, recipe = Walk(p, operands), Recipe()
    visible, work = 2 + p.cells, walk.forward.desc("workspace")
    arguments = walk.read(recipe, walk.plain)
    arguments |= {
        c.DST: (Out(0), walk.y),
        c.DST_ITER: (Out(1), walk.state),
        c.WORKSPACE: (Out(visible), work),
    }
    cell = walk.cell(Out(visible)) if p.cells else None
    if cell:
        arguments[c.DST_ITER_C] = cell, walk.state
    recipe.call(walk.forward, arguments)
    if cell:
        recipe.reorder(cell, walk.state, Out(2), walk.state)
    layouts = (*(o.layout for o in operands), *[ROW_MAJOR] * visible, walk.kept)
    return recipe.offer(
        _cost(p, operands), residual=walk.residual, layouts=layouts, quick=(walk.forward.name,)
    )


@offers(RnnGrad, LstmGrad, GruGrad)
def backward(p: Recurrent, operands: Sequence[Operand]) -> Offer | Refusal:
    if reason := _unfit(p, operands):
        return Refusal(reason)
    walk, recipe = Walk(p, operands), Recipe()
    residual = walk.operand("residual")
    if operands[residual.index].layout.key != walk.kept.key:
        return Refusal("oneDNN's gradient needs what its own forward keeps")
    written, after = walk.write(recipe)
    unread = recipe.space(walk.state.nbytes)  # the last hidden state: asked for
    arguments = walk.read(recipe, walk.turned) | written
    arguments |= {
        c.DST: (walk.operand("y"), walk.y), c.DST_ITER: (unread, walk.state),
        c.WORKSPACE: (residual, walk.backward.desc("workspace")),
        c.DIFF_DST: (walk.operand("dy"), walk.y), c.DIFF_DST_ITER: (walk.operand("dh"), walk.state),
    }  # fmt: skip
    if p.cells:
        arguments[c.DST_ITER_C] = walk.cell(residual), walk.state
        arguments[c.DIFF_DST_ITER_C] = walk.operand("dc"), walk.state
    recipe.call(walk.backward, arguments)
    recipe.calls += after
    works_in = frozenset((residual.index,))  # the states' gradients
    return recipe.offer(_cost(p, operands), quick=(walk.backward.name,), works_in=works_in)
