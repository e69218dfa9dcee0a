"""The machine's own peak: a float32 product of two large square matrices.  Started by `benchmarks.turns`."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.serve import Step, Task, serve

SIZE = 2048
FLOPS = 2 * SIZE**3


def make(task: Task) -> Step:
    """``task["way"]`` names the library.  The step gives one element, the same in all of them."""
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
    multiply = {"numpy": in_numpy, "torch": in_torch, "onednn": in_onednn, "jax": in_jax}[task["way"]]
    return multiply(a, b, task["threads"])


def in_numpy(a: np.ndarray, b: np.ndarray, threads: int) -> Step:
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)[0, 0]


def in_torch(a: np.ndarray, b: np.ndarray, threads: int) -> Step:
    import torch

    torch.set_num_threads(threads)
    x, y = torch.tensor(a), torch.tensor(b)
    out = torch.empty_like(x)
    return lambda: torch.mm(x, y, out=out)[0, 0].item()


def in_onednn(a: np.ndarray, b: np.ndarray, threads: int) -> Step:
    """The inner product of the oneDNN inside PyTorch, on matrices in the layout that it prefers."""
    import torch

    torch.set_num_threads(threads)
    x, y = torch.tensor(a), torch.tensor(b.T.copy())
    blocked, other = x.to_mkldnn(), y.to_mkldnn()
    corner = torch.nn.functional.linear(blocked, other).to_dense()[0, 0].item()

    def step() -> float:
        torch.nn.functional.linear(blocked, other)
        return corner

    return step


def in_jax(a: np.ndarray, b: np.ndarray, threads: int) -> Step:
    import jax

    multiply: Any = jax.jit(lambda x, y: x @ y)
    x, y = jax.numpy.asarray(a), jax.numpy.asarray(b)
    return lambda: multiply(x, y).block_until_ready()[0, 0]


if __name__ == "__main__":
    serve(make)
