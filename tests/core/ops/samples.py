"""The samples of the table of ops, with numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import cortex_core.tensor  # noqa: F401 (loads every op)
from cortex_core.ops.table import OPS, SPELLINGS, Draw, Op, Sample

ROWS = [(op, sample) for op in OPS.values() for sample in op.samples]
NAMES = [f"{op.name} {i}" for op in OPS.values() for i in range(len(op.samples))]


def arrays(sample: Sample, seed: int = 0) -> list[np.ndarray]:
    """An array for each that the sample asks for, in order."""
    rng = np.random.default_rng(seed)
    return [x if isinstance(x, np.ndarray) else _draw(x, rng) for x in _operands(sample.arguments)]


def _draw(wanted: Draw, rng: np.random.Generator) -> np.ndarray:
    shape, size = wanted.shape, int(np.prod(wanted.shape))
    if wanted.domain == "integers":
        return rng.integers(0, wanted.below, shape)
    if wanted.domain == "booleans":
        return np.asarray(rng.random(shape) < 0.5)
    numbers = {
        "normal": lambda: rng.standard_normal(shape),
        "positive": lambda: rng.uniform(0.5, 2.0, shape),
        "unit": lambda: rng.uniform(0.1, 0.9, shape),
        "distinct": lambda: rng.permutation(size).reshape(shape) / max(size, 1) - 0.4,
    }
    return np.asarray(numbers[wanted.domain]())


def _operands(x: Any) -> Iterator[Any]:
    if isinstance(x, (Draw, np.ndarray)):
        yield x
    elif isinstance(x, (tuple, list)):
        for each in x:
            yield from _operands(each)


def _filled(x: Any, operands: Iterator[Any]) -> Any:
    if isinstance(x, (Draw, np.ndarray)):
        return next(operands)
    if isinstance(x, (tuple, list)):
        return type(x)(_filled(each, operands) for each in x)
    return x


def call(f: Callable[..., Any], sample: Sample, operands: Sequence[Any], **keywords: Any) -> list[Any]:
    """What ``f`` makes of the sample's arguments with these operands; its results as a list."""
    given = (_filled(x, iterator) for iterator in [iter(operands)] for x in sample.arguments)
    out = f(*given, **(keywords or sample.keywords))
    return list(out) if isinstance(out, (tuple, list)) else [out]


def numpys(sample: Sample) -> dict[str, Any]:
    """The sample's keywords in NumPy's spelling."""
    return {SPELLINGS.get(word, word): value for word, value in sample.keywords.items()}


def peer(op: Op, torch: Any) -> Callable[..., Any]:
    """The function of PyTorch that must agree."""
    if callable(op.torch):
        return lambda *args, **keywords: op.torch(torch, *args, **keywords)  # type: ignore[operator]
    found = torch
    for part in str(op.torch).split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]
