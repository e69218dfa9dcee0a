"""Attention and its gradient: oneDNN's products, sums and pointwise calls over one block after the other.

The blocks are those of NumPy's kernels, larger ones.  Each is packed first, head after head, as oneDNN is
twice as fast on dense matrices; what follows is a chain of calls over the same memory.

oneDNN's exponential makes infinity of NaN.  Where a sum is not finite, or a logarithm is NaN, NumPy's kernel
does all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend.attention import Cut, Hiding, inner, shaped
from cortex_compute.numpy_backend.backend import NumpyKernel
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import MemoryDesc, PostOp, PrimitiveDesc, strided
from cortex_compute.onednn_backend.fallback import INLINE, NUMPY
from cortex_compute.onednn_backend.matrix import settled
from cortex_compute.onednn_backend.recipe import seconds
from cortex_compute.onednn_backend.steps import Space, Step, bind_step
from cortex_compute.primitives.attention import Attending, Attention, AttentionGrad
from cortex_compute.protocol import Kernel, Launch, Offer, Operand, Refusal
from cortex_compute.types import contiguous_strides, float32

SCORES = 1 << 18  # in a block: 1 MiB, and as much again in the gradient
FEWEST = 128  # queries of a head in a block
PASSES = 6  # over the scores, beside the products

Call = Callable[[], None]
Sizes = tuple[int, ...]
Bound = Callable[..., None]
Pieces = dict[str, np.ndarray]
LOWEST = np.finfo(np.float32).min


def dense(*shape: int) -> MemoryDesc:
    return strided(shape, contiguous_strides(shape))


class Block:
    """The steps for blocks of one size: so many examples, heads of k, queries of each head, and keys.

    A matrix belongs to a head of k: the queries of the heads that share it lie below each other.
    """

    def __init__(self, work: Work, size: Sizes) -> None:
        self.deep, self.side, rows, self.keys = size
        self.group, self.rows = work.cut.group, rows
        self.heads, self.queries, self.span = self.deep * self.side, self.group * rows, work.span
        self.single = len(work.cut.parts) == 1
        self.scores = self.heads * self.queries, self.keys
        p, d = work.p, work.features
        self.steps = {name: self.copied(name, o.strides, o.type.shape[3]) for name, o in work.packed.items()}
        scaled = PostOp("eltwise", c.LINEAR, p.scale, 0.0)
        self.steps["scores"] = self.product("q", "~k", "scores", (self.queries, d, self.keys), scaled)
        if work.limit is not None:
            sizes = (self.heads, self.queries, self.keys), (1, self.queries, self.keys)
            self.steps["hide"] = self.pointwise(c.MIN, "scores", "limit", *sizes)
        self.steps["shift"] = self.pointwise(c.SUB, "scores", "top", self.scores, (self.scores[0], 1))
        flat = dense(*self.scores)
        power = PrimitiveDesc("eltwise_forward", c.FORWARD_TRAINING, c.EXP, flat, flat, 0.0, 0.0)
        self.steps["power"] = Step(power, {c.SRC: ("scores", flat), c.DST: ("scores", flat)})

    def copied(self, name: str, strides: Sizes, features: int, out: bool = False) -> Step:
        """A part of an operand (B, T, N, D) into the piece of its name, or (``out``) from it."""
        b, t, n, d = strides
        group, length = (1, self.span) if name.endswith(("k", "v")) else (self.group, self.rows)
        shape = self.deep, self.side, group, length, features
        there, packed = strided(shape, settled(shape, (b, n * group, n, t, d))), dense(*shape)
        if out:
            return Step(PrimitiveDesc("reorder", packed, there), {c.FROM: (name, packed), c.TO: ("", there)})
        return Step(PrimitiveDesc("reorder", there, packed), {c.FROM: ("", there), c.TO: (name, packed)})

    def product(self, a: str, b: str, out: str, sizes: Sizes, *post_ops: PostOp) -> Step:
        """out = a b for each head, with ``sizes`` (rows, inner, columns).  ``~``: that one lies turned."""
        m, k, n = sizes
        left, right, result = self._matrix(a, m, k), self._matrix(b, k, n), dense(self.heads, m, n)
        return Step(
            PrimitiveDesc("matmul", left, right, None, result, post_ops=post_ops),
            {c.SRC: (a.strip("~"), left), c.WEIGHTS: (b.strip("~"), right), c.DST: (out, result)},
        )

    def _matrix(self, name: str, m: int, n: int) -> MemoryDesc:
        turned, of_keys = name.startswith("~"), name.endswith(("k", "v"))
        every = m * n // self.keys * self.span if of_keys else m * n
        shape, strides = (self.heads, m, n), (every, 1, m) if turned else (every, n, 1)
        return strided(shape, settled(shape, strides))

    def pointwise(self, kind: int, a: str, b: str, shape: Sizes, other: Sizes, *post_ops: PostOp) -> Step:
        """a = a (kind) b, where b is broadcast; an operand of the post-ops is the scores."""
        x, y = dense(*shape), dense(*other)
        arguments = {c.SRC: (a, x), c.SRC_1: (b, y), c.DST: (a, x)}
        for i, op in enumerate(post_ops):
            if op.operand is not None:
                arguments[c.of_post_op(i)] = "scores", op.operand
        return Step(PrimitiveDesc("binary", kind, x, y, x, post_ops=post_ops), arguments)

    def reduction(self, kind: int, out: str) -> Step:
        """The largest, or the sum, of the scores of each query."""
        x, row = dense(*self.scores), dense(self.scores[0], 1)
        primitive = PrimitiveDesc("reduction", kind, x, row, 0.0, 0.0)
        return Step(primitive, {c.SRC: ("scores", x), c.DST: (out, row)})


class Work:
    """What a kernel does: how it is cut, the steps for each size of block, and their memory.

    ``packed`` operands are copied for each block; ``more(block)`` gives the steps behind the scores.
    """

    def __init__(
        self,
        p: Attending,
        operands: Sequence[Operand],
        packed: Sequence[str],
        more: Callable[[Block], dict[str, Step]],
    ) -> None:
        self.p, self.operands, self.types = p, operands, [o.type for o in operands]
        self.features, self.values = self.types[0].shape[3], self.types[2].shape[3]
        self.cut = cut = Cut(p, self.types[0].shape, self.types[1].shape, SCORES, FEWEST)
        self.span = max(keys for _, keys in cut.parts)  # keys that any query sees
        self.packed = {name: operands[p.given.index(name)] for name in packed}
        self.limit = None
        if p.causal and not p.masked and len(cut.parts) == 1:
            seen = np.tri(cut.rows, cut.parts[0][1], dtype=bool)
            self.limit = np.tile(np.where(seen, np.inf, -np.inf).astype(np.float32), (cut.group, 1))
        sizes = {_size(b, m, rows, keys) for b, m in cut.chunks for rows, keys in cut.parts}
        self.blocks = {size: Block(self, size) for size in sizes}
        for block in self.blocks.values():
            block.steps.update(more(block))

    def offer(self, bound: Callable[..., Call], over: Sequence[int] = ()) -> Offer | Refusal:
        """``over``: operands over which the first result may lie: a block reads these before it writes."""
        steps = [step for block in self.blocks.values() for step in block.steps.values()]
        slow = {step.primitive.name for step in steps if step.primitive.implementation.startswith("ref")}
        if slow:
            return Refusal(f"oneDNN has only its reference implementation of {', '.join(sorted(slow))}")
        extra = {"hidden": self.cut.hidden(self.p, self.types).nbytes}
        if isinstance(self.p, AttentionGrad):
            chunk = self.cut.deep * self.cut.side * self.span * float32.itemsize
            extra |= {"dk": chunk * self.features, "dv": chunk * self.values}
        extra["spare"] = self.cut.block * (self.values + 1) * float32.itemsize
        space = Space(steps, extra, () if self.limit is None else ("limit",))
        instead = NUMPY.offer(self.p, self.operands)
        assert isinstance(instead, Offer)

        def build() -> Kernel:
            for step in steps:
                step.primitive.create()
            return NumpyKernel(bind)

        def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
            @cache
            def again() -> Launch:
                return instead.build().bind(inputs, outputs, workspace)

            return bound(inputs, outputs, space.pieces(workspace), lambda: again()(INLINE))

        first, flops = self.p.infer(*self.types)[0], self.p.flops(*self.types)
        calls = len(self.cut.chunks) * len(self.cut.parts) * len(steps) // len(self.blocks)
        passes = PASSES * float32.itemsize * flops / (self.features + self.values)
        return Offer(
            build=build,
            workspace=max(space.nbytes, instead.workspace),
            reuse=tuple((i, 0) for i in over if self.types[i] == first),
            strided_outputs=True,
            cost=seconds(flops, passes, calls),
            implementation=f"onednn {self.blocks[min(self.blocks)].steps['scores'].primitive.implementation}",
        )


class Running:
    """A bound kernel: its memory, and for each size of block the steps, with copies into the ``results``
    (B, T, N, D) of a name.
    """

    def __init__(self, work: Work, inputs: Sequence[Any], results: dict[str, Any], pieces: Pieces) -> None:
        self.cut, self.pieces = work.cut, pieces
        if work.limit is not None:
            pieces["limit"] = work.limit
        self.steps = {}
        for size, block in work.blocks.items():
            steps = dict(block.steps)
            for name, a in results.items():
                if a is not None:
                    strides = tuple(n // a.itemsize for n in a.strides)
                    steps[name] = block.copied(name, strides, a.shape[3], out=True)
            self.steps[size] = {name: bind_step(step, pieces) for name, step in steps.items()}
        q, k, _, *mask = inputs[: 3 + work.p.masked]
        self.q, self.k = work.cut.grouped(q), of_keys(k)
        self.hide = Hiding(work.p, work.cut, mask, pieces["hidden"].view(np.bool_))
        self.span = work.span

    def scores(self, b: slice, m: slice, rows: slice, keys: int) -> tuple[dict[str, Bound], Sizes]:
        """Computes the scores of a block; what can be done with it, and its size (B, M, N / M, rows)."""
        size = _size(b, m, rows, keys)
        do, lead = self.steps[size], (*size[:2], self.cut.group, size[2])
        do["q"](self.q[b, m, :, rows])
        if rows.start == 0:
            do["k"](self.k[b, m, : self.span])
        do["scores"]()
        if "hide" in do:
            do["hide"]()
        else:
            self.hide(shaped(self.pieces["scores"], (*lead, keys)), b, m, rows)
        return do, lead


def _size(b: slice, m: slice, rows: slice, keys: int) -> Sizes:
    return b.stop - b.start, m.stop - m.start, rows.stop - rows.start, keys


def of_keys(a: np.ndarray) -> np.ndarray:
    """A view (B, T, M, D) as (B, M, T, D)."""
    return a.transpose(0, 2, 1, 3)


@offers(Attention)
def attention(p: Attention, operands: Sequence[Operand]) -> Offer | Refusal:
    if operands[0].type.dtype is not float32:
        return Refusal("oneDNN's attention is made for float32 alone")
    values = operands[2].type.shape[3]

    def more(n: Block) -> dict[str, Step]:
        rows = n.scores[0]
        return {
            "top": n.reduction(c.REDUCE_MAX, "top"),
            "total": n.reduction(c.REDUCE_SUM, "total"),
            "mix": n.product("scores", "v", "y", (n.queries, n.keys, values)),
            "divide": n.pointwise(c.DIV, "y", "total", (rows, values), (rows, 1)),
        }

    work = Work(p, operands, ("q", "k", "v"), more)
    return work.offer(partial(_forward, work))


def _forward(
    work: Work, inputs: Sequence[Any], outputs: Sequence[Any], pieces: Pieces, instead: Call
) -> Call:
    """``instead`` is NumPy's kernel."""
    running, cut, v = Running(work, inputs, {"y": outputs[0]}, pieces), work.cut, of_keys(inputs[2])
    y, logs = (None if a is None else view(a) for view, a in zip((cut.grouped, cut.of_heads), outputs))
    fine = True

    def block(b: slice, m: slice, rows: slice, keys: int) -> None:
        do, lead = running.scores(b, m, rows, keys)
        top, total = shaped(pieces["top"], lead), shaped(pieces["total"], lead)
        do["top"]()
        if work.p.masked:
            np.maximum(top, LOWEST, out=top)
        do["shift"]()
        do["power"]()
        do["total"]()
        nonlocal fine
        fine = fine and math.isfinite(total.max())
        if logs is not None:
            logarithm = np.log(total, logs[b, m, :, rows])
            np.add(logarithm, top, logarithm)
        if y is not None:
            if work.p.masked:
                np.maximum(total, 1, out=total)
            if rows.start == 0:
                do["v"](v[b, m, : work.span])
            do["mix"]()
            do["divide"]()
            do["y"](y[b, m, :, rows])

    blocks = cut.over_blocks(block)

    def run() -> None:
        nonlocal fine
        fine = True
        blocks()
        if not fine:
            instead()

    return run


@offers(AttentionGrad)
def attention_gradient(p: AttentionGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    if operands[0].type.dtype is not float32:
        return Refusal("oneDNN's attention is made for float32 alone")
    features, values = operands[0].type.shape[3], operands[2].type.shape[3]

    def more(n: Block) -> dict[str, Step]:
        row, whole = (n.scores[0], 1), dense(*n.scores)
        ends = PostOp("binary", c.MUL, operand=whole), PostOp("eltwise", c.LINEAR, p.scale, 0.0)
        return {
            "by_v": n.product("~scores", "g", "dv" if n.single else "addend", (n.keys, n.queries, values)),
            "slopes": n.product("g", "~v", "slopes", (n.queries, values, n.keys)),
            "slope": n.pointwise(c.SUB, "slopes", "total", n.scores, row, *ends),
            "by_k": n.product("~slopes", "q", "dk" if n.single else "addend", (n.keys, n.queries, features)),
            "by_q": n.product("slopes", "k", "dq", (n.queries, n.keys, features)),
        }

    work = Work(p, operands, ("q", "k", "v", "g"), more)
    return work.offer(partial(_backward, work), (0, len(operands) - 3, len(operands) - 1))


def _backward(
    work: Work, inputs: Sequence[Any], outputs: Sequence[Any], pieces: Pieces, instead: Call
) -> Call:
    running, cut = Running(work, inputs, dict(zip(("dq", "dk", "dv"), outputs)), pieces), work.cut
    (y, g), logs, v = map(cut.grouped, inputs[-3::2]), cut.of_heads(inputs[-2]), of_keys(inputs[2])
    dq = None if outputs[0] is None else cut.grouped(outputs[0])
    dk, dv = (None if a is None else of_keys(a) for a in outputs[1:])
    ones = np.ones(work.values, np.float32)

    def add(do: dict[str, Bound], name: str, out: np.ndarray, rows: slice, keys: int) -> None:
        """Adds to the sum over the parts of a chunk, which is the gradient when the last one has come."""
        if len(cut.parts) == 1:
            do[name](out)
            return
        shape = out.shape[0], out.shape[1], work.span, out.shape[3]
        total, addend = shaped(pieces[name], shape), shaped(pieces["addend"], (*shape[:2], keys, shape[3]))
        if rows.start == 0:
            total[:, :, keys:] = 0
            np.copyto(total[:, :, :keys], addend)
        else:
            np.add(total[:, :, :keys], addend, total[:, :, :keys])
        if rows.stop == cut.queries:
            do[name](out)

    def block(b: slice, m: slice, rows: slice, keys: int) -> None:
        here = b, m, slice(None), rows
        do, lead = running.scores(b, m, rows, keys)
        np.maximum(logs[here], LOWEST, out=shaped(pieces["top"], lead))
        do["shift"]()
        do["power"]()
        do["g"](g[here])
        if dv is not None:
            do["by_v"]()
            add(do, "dv", dv[b, m, : work.span], rows, keys)
        if dq is None and dk is None:
            return
        if rows.start == 0:
            do["v"](v[b, m, : work.span])
        do["slopes"]()
        inner(g[here], y[here], ones, pieces["spare"], shaped(pieces["total"], lead))
        do["slope"]()
        if dk is not None:
            do["by_k"]()
            add(do, "dk", dk[b, m, : work.span], rows, keys)
        if dq is not None:
            do["by_q"]()
            do["dq"](dq[here])

    blocks = cut.over_blocks(block)

    def run() -> None:
        if np.isnan(logs.max()):
            instead()
            return
        for a in (dk, dv):
            if a is not None:
                a[:, :, work.span :] = 0
        blocks()

    return run
