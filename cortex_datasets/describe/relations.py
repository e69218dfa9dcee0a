"""How the columns of a table go together: Pearson's r, Cramér's V, the correlation ratio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from cortex_datasets.describe.report import Correlations, Pair

Array = np.ndarray[Any, Any]
ROWS = 50_000
COLUMNS = 100
ROWS_PER_CATEGORY = 5  # on average; with fewer, categories explain anything (Cochran 1954)


class Found(NamedTuple):
    correlations: Correlations
    notes: list[str]


def correlations(numbers: Mapping[str, Array], categories: Mapping[str, Array]) -> Found:
    """Every pair of columns, over the rows in which both have a value.

    ``numbers``: name -> float64 (rows,), NaN where missing.  ``categories``: name -> codes (rows,), whole
    numbers from 0, and -1 where missing.  Of more than 50,000 rows a random 50,000 are used; of more than
    100 columns the first 100.  Categories with fewer than 5 rows each on average are left out.
    """
    notes: list[str] = []
    numbers, categories = dict(numbers), dict(categories)
    rows = len(next(iter([*numbers.values(), *categories.values()]), ()))
    if rows > ROWS:
        notes.append(f"correlations are those of {ROWS:,} rows, drawn at random (seed 0) from {rows:,}")
        drawn = np.sort(np.random.default_rng(0).choice(rows, ROWS, replace=False))
        numbers = {name: values[drawn] for name, values in numbers.items()}
        categories = {name: codes[drawn] for name, codes in categories.items()}
    too_many = [name for name, codes in categories.items() if not _is_counted(codes)]
    for name in too_many:
        del categories[name]
    if too_many:
        notes.append(
            f"no correlations with {_names(too_many)}: fewer than {ROWS_PER_CATEGORY} rows for each value"
        )
    names = [*numbers, *categories]
    if len(names) > COLUMNS:
        notes.append(f"correlations are those of {COLUMNS} columns, the numbers first, of {len(names)}")
    kept = names[:COLUMNS]
    pairs = _pairs(
        {name: numbers[name] for name in kept if name in numbers},
        {name: categories[name] for name in kept if name in categories},
    )
    ranked = sorted(pairs, key=lambda pair: -abs(pair["value"]))
    return Found({"columns": kept, "pairs": ranked}, notes)


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _is_counted(codes: Array) -> bool:
    present = codes[codes >= 0]
    return len(present) >= ROWS_PER_CATEGORY * len(np.unique(present))


def _pairs(numbers: Mapping[str, Array], categories: Mapping[str, Array]) -> Iterator[Pair]:
    yield from _pearson(numbers)
    for a, b in combinations(categories, 2):
        yield from _cramers_v(a, b, categories[a], categories[b])
    for a in numbers:
        for b in categories:
            yield from _correlation_ratio(a, b, numbers[a], categories[b])


def _pearson(numbers: Mapping[str, Array]) -> Iterator[Pair]:
    """r = mean(x y), of x and y with mean 0 and standard deviation 1."""
    present = {name: np.isfinite(values) for name, values in numbers.items()}
    for a, b in combinations(numbers, 2):
        both = present[a] & present[b]
        x, y = _standardised(numbers[a][both]), _standardised(numbers[b][both])
        if x is not None and y is not None and len(x) > 2:  # any two points lie on a line
            yield _pair(a, b, "pearson", float(np.clip(x @ y / len(x), -1, 1)), len(x))


def _standardised(values: Array) -> Array | None:
    """With mean 0 and standard deviation 1, or None where all are equal."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0:
        return None
    scaled = values / largest  # the squares of the largest doubles are infinite
    scaled = scaled - scaled.mean()
    spread = float(scaled.std())
    return scaled / spread if spread > 1e-15 * len(values) ** 0.5 else None  # less is rounding


def _cramers_v(a: str, b: str, x: Array, y: Array) -> Iterator[Pair]:
    """V = sqrt(chi2 / (n min(r - 1, c - 1))), for a table of counts with r rows and c columns that are not
    empty (Cramér 1946)."""
    both = (x >= 0) & (y >= 0)
    n = int(both.sum())
    width = int(y.max(initial=0)) + 1
    counts = np.bincount(x[both] * width + y[both], minlength=(int(x.max(initial=0)) + 1) * width)
    table = counts.reshape(-1, width).astype(np.float64)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    freedom = min(table.shape) - 1
    if freedom < 1:
        return
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / n
    chi2 = float(((table - expected) ** 2 / expected).sum())
    yield _pair(a, b, "cramers_v", min(1.0, (chi2 / (n * freedom)) ** 0.5), n)


def _correlation_ratio(a: str, b: str, values: Array, codes: Array) -> Iterator[Pair]:
    """eta = sqrt(sum_k n_k mean_k^2 / n), of x with mean 0 and standard deviation 1 (Pearson 1905)."""
    both = np.isfinite(values) & (codes >= 0)
    x, groups = _standardised(values[both]), codes[both]
    counts = np.bincount(groups)
    if x is None or np.count_nonzero(counts) < 2:
        return
    sums = np.bincount(groups, weights=x)
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    yield _pair(a, b, "correlation_ratio", min(1.0, (between / len(x)) ** 0.5), len(x))


def _pair(a: str, b: str, measure: Any, value: float, rows: int) -> Pair:
    return {"a": a, "b": b, "measure": measure, "value": value, "rows": rows}
