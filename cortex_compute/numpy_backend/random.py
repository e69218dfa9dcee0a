"""Random numbers from NumPy's own Philox, set to the key and the run each time.

A bit generator is an engine, not a state: each run sets its whole state from the key's memory.  Words are
split as little-endian machines hold them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import sequence
from cortex_compute.numpy_backend.memory import carve, scratch_size
from cortex_compute.numpy_backend.pointwise import BLOCK
from cortex_compute.primitives.random import Random, bernoulli_threshold
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import TensorType, float32

WORDS = 384  # for one call of `random_raw`, which allocates what it returns: well under 4 KiB
SECONDS = {"uniform": 3e-9, "normal": 2e-8, "bernoulli": 2e-9}  # for one element, of one core
Call = Callable[[], Any]


class Engine:
    """A Philox generator that each run starts again for (seed, stream) and the run's number."""

    def __init__(self, key: np.ndarray, stream: int) -> None:
        self.key = key
        self.bits = np.random.Philox(key=np.array([0, stream], np.uint64))
        self.uniforms = np.random.Generator(self.bits).random
        self.state: Any = self.bits.state
        self.counter, self.philox_key = self.state["state"]["counter"], self.state["state"]["key"]

    def start(self) -> None:
        """Counter [0, 0, run, 0]: NumPy increments it before each block of four words."""
        self.philox_key[0], self.counter[2] = self.key
        self.bits.state = self.state


@offers(Random)
def random(p: Random, operands: Sequence[Operand]) -> Offer:
    (result,) = p.infer(operands[0].type)
    pairs = max(1, min(BLOCK, result.size + 1) // 2)
    needed: list[TensorType] = []
    if p.kind == "normal":
        needed = [TensorType((2 * pairs,)), *[TensorType((pairs,), p.dtype)] * 3]
    elif p.kind == "uniform" and p.dtype is not float32:
        needed = [TensorType((2 * pairs,))]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        engine, out = Engine(inputs[0], p.stream), outputs[0].reshape(-1)
        scratch = carve(workspace, needed)
        if p.kind == "bernoulli":
            return _bernoulli(engine, bernoulli_threshold(p.p), out)
        calls: list[Call] = [engine.start]
        if not needed:
            calls.append(partial(engine.uniforms, None, np.float32, out))
        for start in range(0, out.size if needed else 0, 2 * pairs):
            block = out[start : start + 2 * pairs]
            if p.kind == "uniform":
                calls.append(partial(engine.uniforms, None, np.float32, scratch[0][: block.size]))
                calls.append(partial(np.copyto, block, scratch[0][: block.size]))
            else:
                calls += _normal(engine, block, scratch)
        return sequence(calls)

    return kernel(bound, workspace=scratch_size(needed), cost=result.size * SECONDS[p.kind])


def _bernoulli(engine: Engine, threshold: int, out: np.ndarray) -> Call:
    if threshold == 2**16:
        return partial(out.fill, True)
    limit, draw = np.uint16(threshold), engine.bits.random_raw
    pieces = [out[i : i + 4 * WORDS] for i in range(0, out.size, 4 * WORDS)]

    def run() -> None:
        engine.start()
        for piece in pieces:
            np.less(draw(-(-piece.size // 4)).view(np.uint16)[: piece.size], limit, piece)

    return run


def _normal(engine: Engine, out: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
    """Box and Muller's transform of one block of uniforms; of the last pair one may be left over."""
    n = -(-out.size // 2)
    u, (r, angle, unit) = scratch[0][: 2 * n], (a[:n] for a in scratch[1:])
    even, odd = out[0::2], out[1::2]
    return [
        partial(engine.uniforms, None, np.float32, u),
        partial(np.copyto, r, u[0::2]),
        partial(np.subtract, 1.0, r, r),
        partial(np.log, r, r),
        partial(np.multiply, r, -2.0, r),
        partial(np.sqrt, r, r),
        partial(np.copyto, angle, u[1::2]),
        partial(np.multiply, angle, 2 * math.pi, angle),
        partial(np.cos, angle, unit),
        partial(np.multiply, r, unit, even),
        partial(np.sin, angle, unit),
        partial(np.multiply, r[: odd.size], unit[: odd.size], odd),
    ]
