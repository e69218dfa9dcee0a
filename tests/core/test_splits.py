"""Parts and folds: complete, apart, in proportion, whole groups; and what cannot be divided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedKFold

from cortex_compute.errors import DataError, SpecError
from cortex_core.order import shuffled
from cortex_core.registry import SPLITS
from cortex_core.splits import Grouped, Last, Random, Stratified


def of(values: Any) -> Callable[[str | None], np.ndarray]:
    return lambda name: np.asarray(values)


def nothing(name: str | None) -> np.ndarray:
    raise AssertionError("this way needs no column")


def test_a_random_order_is_this_one() -> None:
    words = np.random.Philox(key=[7, 5], counter=[0, 0, 3, 0]).random_raw(10)
    assert shuffled(10, 7, 5, 3).tolist() == sorted(range(10), key=lambda i: int(words[i]))


def test_the_last_examples_by_hand() -> None:
    parts = Last().divide(np.arange(10), {"test": 0.2, "validation": 0.25}, nothing)
    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "validation": [6, 7],  # a quarter of the eight that the test left
        "test": [8, 9],
    }
    assert [f.tolist() for f in Last().folds(np.arange(7), 3, nothing)] == [[0, 1, 2], [3, 4], [5, 6]]


def test_some_rows_are_divided_and_the_others_left_alone() -> None:
    rows = np.array([3, 5, 8, 9, 20, 21])
    parts = Last().divide(rows, {"validation": 0.34}, nothing)
    assert parts["validation"].tolist() == [20, 21]
    labels = np.zeros(30, int)
    labels[[5, 9, 21]] = 1
    parts = Stratified().divide(rows, {"validation": 0.34}, of(labels))
    assert sorted(labels[parts["validation"]]) == [0, 1]
    assert set(parts["validation"]) < set(rows)


labels = st.lists(st.sampled_from("aaaabbc"), min_size=12, max_size=80)
numbers = st.lists(st.integers(0, 9), min_size=12, max_size=80)
ways = st.sampled_from([Last(), Random(), Random(seed=3), Stratified(seed=1), Grouped(by="g")])


def usable(way: Any, values: Any) -> bool:
    counts = np.unique(values, return_counts=True)[1]
    return len(counts) > 4 if way.kind == "grouped" else way.kind != "stratified" or counts.min() > 1


@settings(max_examples=60, deadline=None)
@given(ways, numbers)
def test_parts_and_folds_are_apart_complete_and_in_order(way: Any, values: list[int]) -> None:
    if not usable(way, values):
        return
    rows = np.arange(len(values))
    parts = list(way.divide(rows, {"test": 0.25, "validation": 0.25}, of(values)).values())
    for pieces in (parts, way.folds(rows, 3, of(values))):
        assert sorted(np.concatenate(pieces)) == list(rows)
        assert all(len(p) and (np.diff(p) > 0).all() for p in pieces)


@settings(max_examples=60, deadline=None)
@given(labels, st.floats(0.05, 0.95), st.integers(2, 5))
def test_every_class_is_within_one_of_its_share(values: list[str], fraction: float, k: int) -> None:
    names, counts = np.unique(values, return_counts=True)
    if counts.min() < 2:
        return
    array, rows = np.array(values), np.arange(len(values))
    size = round(len(values) * fraction)
    taken = Stratified().divide(rows, {"test": fraction}, of(values))
    folds = Stratified().folds(rows, k, of(values))
    for name, count in zip(names, counts):
        members = (array == name).sum()
        assert abs((array[taken["test"]] == name).sum() - size * count / len(values)) <= 1
        assert (array[taken["train"]] == name).sum() >= 1
        held = [(array[f] == name).sum() for f in folds]
        assert sum(held) == members
        assert max(held) - min(held) <= 1
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_folds_hold_as_many_of_each_class_as_those_of_scikit_learn() -> None:
    values = np.repeat([0, 1, 2], [50, 31, 12])
    ours = Stratified(seed=4).folds(np.arange(93), 5, of(values))
    theirs = [test for _, test in StratifiedKFold(5, shuffle=True, random_state=0).split(values, values)]
    for folds in (ours, theirs):
        counts = np.array([np.bincount(values[f], minlength=3) for f in folds])
        assert (counts >= [10, 6, 2]).all()
        assert (counts <= [10, 7, 3]).all()


@settings(max_examples=60, deadline=None)
@given(numbers, st.floats(0.1, 0.6), st.integers(2, 4))
def test_groups_stay_whole(values: list[int], fraction: float, k: int) -> None:
    if len(set(values)) < 5:
        return
    array, rows = np.array(values), np.arange(len(values))
    parts = Grouped(by="patient").divide(rows, {"test": fraction}, of(values))
    assert not set(array[parts["train"]]) & set(array[parts["test"]])
    largest = np.unique(values, return_counts=True)[1].max()
    assert abs(len(parts["test"]) - fraction * len(values)) <= largest
    ours = Grouped(by="patient").folds(rows, k, of(values))
    assert sum(len(set(array[f])) for f in ours) == len(set(values))
    theirs = [test for _, test in GroupKFold(k).split(array, groups=array)]
    assert sorted(map(len, ours)) == sorted(map(len, theirs))


@pytest.mark.parametrize("kind", ["random", "stratified", "grouped"])
def test_a_seed_divides_the_same_way_again_and_another_does_not(kind: str) -> None:
    values, rows = np.arange(200) % 40, np.arange(200)
    given_ = {"by": "g"} if kind == "grouped" else {}

    def divided(seed: int) -> list[list[int]]:
        way = SPLITS[kind](seed=seed, **given_)
        parts = way.divide(rows, {"test": 0.2}, of(values))
        return [f.tolist() for f in [parts["test"], *way.folds(rows, 4, of(values))]]

    assert divided(1) == divided(1)
    assert all(a != b for a, b in zip(divided(1), divided(2)))


def test_a_way_asks_for_its_column() -> None:
    asked = []

    def column(name: str | None) -> np.ndarray:
        asked.append(name)
        return np.arange(12) % 3

    for way in (Stratified(), Stratified(by="kind"), Grouped(by="patient")):
        way.divide(np.arange(12), {"test": 0.3}, column)
    assert asked == [None, "kind", "patient"]


def test_a_class_that_is_not_among_the_rows_is_not_divided() -> None:
    values = [*"aaaabbbb", "c", "a"]  # c stands in another part
    parts = Stratified().divide(np.arange(8), {"validation": 0.25}, of(values))
    assert sorted(np.array(values)[parts["validation"]]) == ["a", "b"]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(8))


def test_two_groups_are_two_parts_whatever_the_fraction() -> None:
    for fraction in (0.1, 0.8, 0.95):
        parts = Grouped(by="p").divide(np.arange(10), {"test": fraction}, of(np.repeat([0, 1], 5)))
        assert sorted(map(len, parts.values())) == [5, 5]


def test_many_classes_are_divided_as_few() -> None:
    """Half of 50,000 pairs: one of each."""
    parts = Stratified().divide(np.arange(100_000), {"test": 0.5}, of(np.arange(100_000) // 2))
    assert np.array_equal(parts["test"] // 2, np.arange(50_000))


ten = np.arange(10)
WRONG: list[tuple[str, Callable[[], object], list[str]]] = [
    (
        "small",
        lambda: Last().divide(ten, {"test": 0.01}, nothing),
        ["test 0.01 of 10 examples is 0", "at least"],
    ),
    ("large", lambda: Random().divide(ten, {"test": 0.99}, nothing), ["test 0.99", "is 10"]),
    (
        "second",
        lambda: Last().divide(ten, {"test": 0.8, "validation": 0.1}, nothing),
        ["validation 0.1 of 2 examples"],
    ),
    ("folds", lambda: Random().folds(ten, 11, nothing), ["11 folds of 10 examples", "10 folds at most"]),
    ("one fold", lambda: Random().folds(ten, 1, nothing), ["1 folds", "at least two"]),
    (
        "single",
        lambda: Stratified().divide(ten, {"test": 0.3}, of([*"aaaabbbbc", "d"])),
        ["the labels", "'c' has one example, and so have 1 more", "split: random"],
    ),
    ("single in folds", lambda: Stratified(by="k").folds(ten, 2, of([*"aaaaabbbbc"])), ["column 'k'", "'c'"]),
    (
        "nothing left",
        lambda: Stratified().divide(ten[:4], {"test": 0.5, "validation": 0.5}, of([*"abab"])),
        ["validation 0.5", "no class has two examples left"],
    ),
    ("groups", lambda: Grouped(by="p").folds(ten, 3, of(ten % 2)), ["3 folds of 2 groups of 'p'"]),
    ("one group", lambda: Grouped(by="p").divide(ten, {"test": 0.3}, of(ten * 0)), ["of 1 groups of 'p'"]),
    (
        "NaN",
        lambda: Grouped(by="p").divide(ten, {"test": 0.3}, of([1.0, np.nan, 2.0, np.nan, *range(6)])),
        ["column 'p' has no value in 2 examples", "example 1"],
    ),
    ("empty", lambda: Grouped(by="p").folds(ten, 2, of(["x", "", *"abcdefgh"])), ["'p'", "in 1 examples"]),
    (
        "no time",
        lambda: Grouped(by="p").folds(ten[:2], 2, of(np.array(["2020-01-01", "NaT"], "M8[D]"))),
        ["in 1 examples"],
    ),
]


@pytest.mark.parametrize(("divide", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_cannot_be_divided(divide: Callable[[], object], words: list[str]) -> None:
    with pytest.raises(DataError) as raised:
        divide()
    assert all(word in str(raised.value) for word in words), raised.value


def test_a_group_needs_its_column() -> None:
    with pytest.raises(SpecError, match="'by' is missing"):
        Grouped()
    with pytest.raises(SpecError, match="seed"):
        Random(seed=-1)
