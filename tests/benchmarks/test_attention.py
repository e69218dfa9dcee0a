"""What a step of attention takes grows with the length, and not with its square."""

from __future__ import annotations

from benchmarks.attention import LENGTHS, lines, measure, planned
from benchmarks.workloads import HEADS


def test_the_plan_grows_linearly() -> None:
    short, middle, long = (planned(length, "numpy") for length in LENGTHS)
    assert middle <= 2.05 * short
    assert long <= 2.05 * middle
    assert long < 4 * HEADS * LENGTHS[-1] ** 2 / 4  # the scores alone


def test_what_is_measured_is_what_a_step_takes() -> None:
    """In a process of its own: the largest size of this one may be that of another test."""
    figures = measure(2048, "numpy")
    assert figures["grown"] >= 0.5 * figures["planned"]


def test_figures_are_in_megabytes() -> None:
    head, row = lines([{"length": 1024, "planned": 3_000_000, "grown": 4_500_000, "scores": 16_777_216}])
    assert "planned" in head
    assert row.split() == ["1024", "3.0", "4.5", "16.8"]
