"""Layered drawings: where boxes and lines lie."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_compute.errors import SpecError
from cortex_viz.layered import GAP, _apart, lay_out

BOX = (60.0, 20.0)


def test_a_diamond() -> None:
    found = lay_out(dict.fromkeys("dbca", BOX), [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    xs = {key: found.centres[key][0] for key in "abcd"}
    ys = {key: found.centres[key][1] for key in "abcd"}
    assert ys["a"] < ys["b"] == ys["c"] < ys["d"]
    assert xs["a"] == xs["d"] == (xs["b"] + xs["c"]) / 2
    assert abs(xs["b"] - xs["c"]) == BOX[0] + GAP
    assert sum(line.last for line in found.lines) == 4


def test_crossings_are_taken_out() -> None:
    sizes = dict.fromkeys(["end", "u", "v", "b", "a"], BOX)
    found = lay_out(sizes, [("u", "end"), ("v", "end"), ("a", "u"), ("b", "v")])
    x = {key: place[0] for key, place in found.centres.items()}
    assert (x["u"] < x["v"]) == (x["a"] < x["b"])


def test_a_long_edge_shares_its_points() -> None:
    """The leaf is used on every level: one line runs down beside the chain, and branches off."""
    sizes = dict.fromkeys([3, 2, 1, 0, "leaf"], BOX)
    found = lay_out(sizes, [(0, 1), (1, 2), (2, 3), *(("leaf", i) for i in range(4))])
    assert len(found.lines) == 3 + 4 + 3


def test_places_that_are_too_close_are_pushed_apart_evenly() -> None:
    assert _apart([0.0, 0.0], [10.0, 30.0]) == [-(20 + GAP) / 2, (20 + GAP) / 2]
    assert _apart([0.0, 500.0], [10.0, 10.0]) == [0.0, 500.0]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.integers(0, 2**31))
def test_no_other_places_are_closer_to_the_wanted_ones(wanted: list[float], seed: int) -> None:
    """A convex problem: a place from which no small step with the gaps kept is better is the best."""
    rng = np.random.default_rng(seed)
    widths = list(rng.uniform(5, 50, len(wanted)))
    least = [(a + b) / 2 + GAP for a, b in pairwise(widths)]
    found = np.array(_apart(wanted, widths))
    assert np.all(np.diff(found) >= np.array(least) - 1e-9)
    cost = np.sum((found - wanted) ** 2)
    for _ in range(20):
        other = found + rng.normal(size=len(wanted))
        if np.all(np.diff(other) >= least):
            assert np.sum((other - wanted) ** 2) >= cost - 1e-9


@settings(deadline=None)
@given(st.integers(2, 25), st.randoms(use_true_random=False))
def test_boxes_never_overlap_and_lines_lead_down(n: int, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    sizes = {i: (float(rng.integers(20, 200)), float(rng.integers(15, 60))) for i in range(n)}
    edges = [(int(s), int(rng.integers(s))) for s in rng.integers(1, n, 2 * n)]
    found = lay_out(sizes, edges)
    for a, b in combinations(sizes, 2):
        apart = np.abs(np.subtract(found.centres[a], found.centres[b]))
        assert np.any(apart >= np.add(sizes[a], sizes[b]) / 2 - 1e-9)
    for line in found.lines:
        assert all(GAP / 2 - 1e-9 <= x <= found.width - GAP / 2 + 1e-9 for x, _ in (line.start, line.end))
    assert all(found.centres[s][1] < found.centres[t][1] for s, t in edges)
    assert all(line.start[1] <= line.leave <= line.arrive <= line.end[1] for line in found.lines)
    for i, (x, y) in found.centres.items():
        assert sizes[i][0] / 2 <= x <= found.width - sizes[i][0] / 2
        assert sizes[i][1] / 2 <= y <= found.height - sizes[i][1] / 2


@settings(deadline=None)
@given(st.integers(2, 25), st.randoms(use_true_random=False))
def test_lines_pass_beside_boxes(n: int, random: object) -> None:
    """A line bends only where there is no box; what of it is straight meets none but those at its ends."""
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    sizes = {i: (float(rng.integers(20, 200)), float(rng.integers(15, 60))) for i in range(n)}
    edges = [(int(s), int(rng.integers(s))) for s in rng.integers(1, n, 2 * n)]
    found = lay_out(sizes, edges)
    for line in found.lines:
        for i, (x, y) in found.centres.items():
            wide, tall = sizes[i][0] / 2 - 1e-6, sizes[i][1] / 2 - 1e-6
            assert y + tall <= line.leave or y - tall >= line.arrive
            for (at, _), top, bottom in (
                (line.start, line.start[1], line.leave),
                (line.end, line.arrive, line.end[1]),
            ):
                assert abs(at - x) >= wide or y + tall <= top or y - tall >= bottom


def test_a_chain_is_straight() -> None:
    sizes = {i: (20.0 + 7 * (i % 5), 20.0) for i in range(30)}
    found = lay_out({"side": BOX, **sizes}, [*((i + 1, i) for i in range(29)), (1, "side")])
    assert len({round(found.centres[i][0], 6) for i in range(1, 30)}) == 1


def test_nothing_and_one_box() -> None:
    assert lay_out({}, []).centres == {}
    assert lay_out({"a": BOX}, []).centres["a"] == pytest.approx((GAP + 30, GAP + 10))


@pytest.mark.slow
def test_lines_are_counted_before_they_are_laid_out() -> None:
    # Each box of a chain leads to the last one as well: the box at depth d passes d - 1 others.
    for count, places in ((300, 299 * 298 // 2), (400, 399 * 398 // 2)):
        keys = [f"b{i}" for i in reversed(range(count))]
        edges = [(f"b{i}", f"b{i + 1}") for i in range(count - 1)]
        edges += [(f"b{i}", f"b{count - 1}") for i in range(count - 2)]
        if places < 50_000:
            assert len(lay_out(dict.fromkeys(keys, (9.0, 9.0)), edges).centres) == count
        else:
            with pytest.raises(
                SpecError, match=f"400 boxes whose lines run past others at {places:,} places"
            ):
                lay_out(dict.fromkeys(keys, (9.0, 9.0)), edges)
