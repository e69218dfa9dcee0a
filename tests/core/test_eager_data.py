"""`cortex.data`: what a loader gives, in which order, and what it refuses."""

from __future__ import annotations

from collections import Counter, namedtuple
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, DataError, PlaceError
from cortex_core.eager_data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from cortex_core.generator import manual_seed
from cortex_core.tensor import Tensor


class Squares(Dataset):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        assert type(index) is int
        return {"x": float(index), "square": index * index, "name": f"n{index}"}


def pairs(count: int = 10) -> TensorDataset:
    return TensorDataset(np.arange(count * 2.0).reshape(count, 2), np.arange(count))


def seen(loader: DataLoader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


def test_batches_are_rows_in_order_and_the_last_is_smaller() -> None:
    batches = list(DataLoader(pairs(), batch_size=4))
    assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    x, y = batches[1]
    assert isinstance(x, Tensor)
    np.testing.assert_array_equal(x.numpy(), np.arange(20.0).reshape(10, 2)[4:8])
    assert [str(x.dtype), str(y.dtype)] == ["float64", "int64"]
    assert x.shape == (4, 2)


@pytest.mark.parametrize(("drop_last", "count"), [(False, 3), (True, 2)])
def test_the_length_is_the_number_of_batches(drop_last: bool, count: int) -> None:
    loader = DataLoader(pairs(), 4, drop_last=drop_last)
    assert len(loader) == len(list(loader)) == count


def test_a_batch_is_gathered_at_once() -> None:
    class Counting(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            raise AssertionError("read one by one")

    loader = DataLoader(Subset(Counting(np.arange(10)), [7, 5, 3, 1]), 3)
    assert [x.tolist() for (x,) in loader] == [[7, 5, 3], [1]]


def test_a_batch_is_a_copy() -> None:
    data = pairs()
    (x, _), *_ = DataLoader(data, 4)
    x.data[...] = -1
    assert data[0][0].tolist() == [0, 1]


def test_shuffling_takes_each_once_and_differs_each_time() -> None:
    loader = DataLoader(pairs(100), 7, shuffle=True, seed=3)
    first, second = (np.concatenate(seen(loader)) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second).any()
    assert (first != np.arange(100)).any()
    for x, y in loader:
        np.testing.assert_array_equal(x.numpy()[:, 0], 2 * y.numpy())


def test_a_seed_makes_the_same_orders() -> None:
    def two(seed: int) -> list[list[list[int]]]:
        loader = DataLoader(pairs(), 3, shuffle=True, seed=seed)
        return [seen(loader), seen(loader)]

    assert two(5) == two(5)
    assert two(5) != two(6)


def test_manual_seed_makes_the_same_orders() -> None:
    loader, found = DataLoader(pairs(), 3, shuffle=True), []
    for _ in range(2):
        manual_seed(11)
        found.append([seen(loader), seen(loader)])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_the_orders_stay_the_same_in_every_version() -> None:
    assert list(RandomSampler(range(8), seed=1)) == ORDER


ORDER = [0, 6, 5, 3, 4, 7, 2, 1]  # argsort of the words of Philox with key (1, 1)


def test_positions_are_uniform() -> None:
    sampler = RandomSampler(range(4), seed=0)
    counts = np.zeros((4, 4))
    for _ in range(2000):
        counts[np.arange(4), list(sampler)] += 1
    assert abs(counts - 500).max() < 5 * np.sqrt(500 * 0.75)


def test_examples_of_ones_own_are_collated() -> None:
    first, last = DataLoader(Squares(5), 3)
    assert first["x"].tolist() == [0, 1, 2]
    assert str(first["x"].dtype) == "float32"
    assert last["square"].tolist() == [9, 16]
    assert last["name"] == ["n3", "n4"]


def test_a_plain_list_is_a_data_set() -> None:
    assert [x.tolist() for x in DataLoader([5, 6, 7], 2)] == [[5, 6], [7]]


def test_collate_fn_is_given_the_examples() -> None:
    loader = DataLoader([1, 2, 3], 2, collate_fn=sum)
    assert list(loader) == [3, 3]
    assert list(DataLoader(pairs(4), 4, collate_fn=len)) == [4]


def test_a_sampler_and_a_batch_sampler_say_the_order() -> None:
    assert seen(DataLoader(pairs(), 2, sampler=[3, 1, 2])) == [[3, 1], [2]]
    assert seen(DataLoader(pairs(), batch_sampler=[[1], [2, 9]])) == [[1], [2, 9]]
    assert len(DataLoader(pairs(), batch_sampler=[[1], [2, 9]])) == 2
    assert seen(DataLoader(pairs(), batch_sampler=BatchSampler([], 2))) == []
    assert seen(DataLoader(pairs(), batch_sampler=BatchSampler(iter([3, 1, 2]), 2))) == [[3, 1], [2]]


def test_samplers_say_how_many() -> None:
    for sampler, count in [
        (SequentialSampler(range(5)), 5),
        (RandomSampler(range(5)), 5),
        (RandomSampler(range(5), num_samples=12), 12),
        (RandomSampler(range(5), replacement=True, num_samples=3), 3),
        (SubsetRandomSampler([4, 2, 8]), 3),
        (WeightedRandomSampler([1, 2], 9), 9),
        (BatchSampler(range(5), 2), 3),
        (BatchSampler(range(5), 2, drop_last=True), 2),
    ]:
        assert len(sampler) == len(list(sampler)) == count


def test_more_samples_than_examples_come_again() -> None:
    found = list(RandomSampler(range(5), num_samples=12, seed=0))
    assert sorted(found[:5]) == sorted(found[5:10]) == list(range(5))


def test_drawing_with_replacement_reaches_all_and_nothing_else() -> None:
    counts = Counter(RandomSampler(range(5), replacement=True, num_samples=5000, seed=2))
    assert sorted(counts) == list(range(5))
    assert max(counts.values()) < 1000 + 5 * np.sqrt(800)


def test_a_subset_sampler_gives_the_given() -> None:
    assert sorted(SubsetRandomSampler([4, 2, 8], seed=0)) == [2, 4, 8]


def test_weights_are_chances() -> None:
    counts = Counter(WeightedRandomSampler([0, 1, 3, 0], 8000, seed=4))
    assert sorted(counts) == [1, 2]
    assert counts[2] == pytest.approx(6000, abs=5 * np.sqrt(8000 * 3 / 16))


def test_weights_without_replacement() -> None:
    sampler = WeightedRandomSampler([0, 1, 3, 2], 3, replacement=False, seed=4)
    firsts = Counter()
    for _ in range(3000):
        drawn = list(sampler)
        assert sorted(drawn) == [1, 2, 3]
        firsts[drawn[0]] += 1
    assert [firsts[i] for i in (1, 2, 3)] == pytest.approx([500, 1500, 1000], abs=5 * np.sqrt(750))


def test_a_split_is_a_partition() -> None:
    parts = random_split(pairs(10), [7, 2, 1], seed=0)
    assert [len(p) for p in parts] == [7, 2, 1]
    rows = [int(part[i][1]) for part in parts for i in range(len(part))]
    assert sorted(rows) == list(range(10))
    again = random_split(pairs(10), [7, 2, 1], seed=0)
    assert [p.indices.tolist() for p in parts] == [p.indices.tolist() for p in again]


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [
        (10, [0.8, 0.2], [8, 2]),
        (10, [1 / 3, 1 / 3, 1 / 3], [4, 3, 3]),
        (7, [0.5, 0.5], [4, 3]),
        (3, [1.0], [3]),
    ],
)
def test_fractions_are_rounded_to_all(count: int, fractions: list[float], sizes: list[int]) -> None:
    assert [len(p) for p in random_split(range(count), fractions)] == sizes


def test_a_split_feeds_a_loader() -> None:
    train, _ = random_split(pairs(10), [0.8, 0.2], seed=1)
    rows = np.concatenate(seen(DataLoader(train, 3, shuffle=True, seed=0)))
    assert sorted(rows) == sorted(train.indices)


Point = namedtuple("Point", "x y")


def test_collate_keeps_the_structure() -> None:
    batch = default_collate([(Point(1, 2.0), [True, "a"]), (Point(3, 4.0), [False, "b"])])
    assert type(batch) is tuple
    assert type(batch[0]) is Point
    assert batch[0].x.tolist() == [1, 3]
    assert batch[1][0].tolist() == [True, False]
    assert str(batch[1][0].dtype) == "bool"
    assert batch[1][1] == ["a", "b"]


def test_collate_stacks_arrays_of_their_type() -> None:
    stacked = default_collate([np.ones((2, 3), np.float16), np.zeros((2, 3), np.float16)])
    assert stacked.shape == (2, 2, 3)
    assert str(stacked.dtype) == "float16"
    assert default_collate([Tensor([1.0]), Tensor([2.0])]).tolist() == [[1.0], [2.0]]
    assert str(default_collate([np.float32(1), np.float32(2)]).dtype) == "float32"


def test_sets_behind_each_other() -> None:
    both = ConcatDataset([pairs(3), [], pairs(2)])
    assert len(both) == 5
    assert [both[i][0].tolist() for i in (2, 3, -1)] == [
        pairs(3)[2][0].tolist(),
        *([x.tolist() for x, _ in pairs(2)]),
    ]
    assert [len(x) for x, _ in DataLoader(both, 4)] == [4, 1]


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter([1, 2, 3, 4, 5])


def test_a_stream_is_cut_into_batches() -> None:
    assert [x.tolist() for x in DataLoader(Stream(), 2)] == [[1, 2], [3, 4], [5]]
    assert [x.tolist() for x in DataLoader(Stream(), 2, drop_last=True)] == [[1, 2], [3, 4]]
    assert list(DataLoader(Stream(), batch_size=None)) == [1, 2, 3, 4, 5]
    with pytest.raises(TypeError, match="Stream"):
        len(DataLoader(Stream(), 2))


def test_single_examples() -> None:
    loader = DataLoader(pairs(4), batch_size=None, collate_fn=lambda pair: pair[0].tolist())
    assert len(loader) == 4
    assert list(loader) == [x.tolist() for x, _ in (pairs(4)[i] for i in range(4))]


def test_a_generator_is_a_seed() -> None:
    def order(**options: Any) -> list[Any]:
        return seen(DataLoader(pairs(10), 3, shuffle=True, **options))

    assert order(generator=5) == order(seed=5)
    assert order(generator=5, pin_memory=False) != order(seed=6)
    parts = random_split(pairs(10), [0.5, 0.5], generator=3)
    assert [p.indices.tolist() for p in parts] == [
        p.indices.tolist() for p in random_split(pairs(10), [0.5, 0.5], 3)
    ]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: TensorDataset(), DataError, "needs tensors"),
        (lambda: TensorDataset(np.float32(1)), DataError, "one axis or more"),
        (lambda: TensorDataset(np.ones((3, 2)), np.ones(4)), DataError, r"\(3, 2\), \(4,\) differ"),
        (lambda: Subset(pairs(), [3, 10]), DataError, "no example 10 among 10"),
        (lambda: random_split(pairs(), [7, 2]), ArgumentError, r"\[7, 2\] do not add up to 10"),
        (lambda: random_split(pairs(), [0.7, 0.2]), ArgumentError, "add up to 1"),
        (lambda: random_split(pairs(), [1.5, -0.5]), ArgumentError, "add up to 1"),
        (lambda: random_split(pairs(), [5, 5], seed=-1), ArgumentError, "seed is -1"),
        (lambda: DataLoader(pairs(), 0), ArgumentError, "batch_size is 0"),
        (lambda: DataLoader(pairs(), None, drop_last=True), ArgumentError, "drop_last is of batches"),
        (lambda: DataLoader(pairs(), 2, shuffle=True, generator="x"), ArgumentError, "generator is 'x'"),
        (lambda: random_split(pairs(), [5, 5], seed=1, generator=2), ArgumentError, "beside seed=1"),
        (lambda: DataLoader(Stream(), shuffle=True), ArgumentError, "its own order"),
        (lambda: ConcatDataset([]), DataError, "at least one set"),
        (lambda: ConcatDataset([pairs()])[10], PlaceError, "no example 10 among 10"),
        (lambda: DataLoader(pairs(), 2, num_workers=2), ArgumentError, "num_workers is 2, expected 0"),
        (lambda: DataLoader(pairs(), 2, pin_memory=True), ArgumentError, "pin_memory is True"),
        (lambda: DataLoader(pairs(), shuffle=True, sampler=[1]), ArgumentError, "shuffle and sampler"),
        (lambda: DataLoader(pairs(), 2, batch_sampler=[[1]]), ArgumentError, "give it alone"),
        (lambda: DataLoader(pairs(), 2, seed=1), ArgumentError, "shuffle=True"),
        (lambda: DataLoader(pairs(), 2, shuffle=True, seed=1.5), ArgumentError, "seed is 1.5"),
        (lambda: list(RandomSampler([], num_samples=3)), DataError, "without examples"),
        (lambda: WeightedRandomSampler([1, -1], 2), ArgumentError, "0 or more"),
        (lambda: WeightedRandomSampler([0, 0], 2), ArgumentError, "not all 0"),
        (lambda: WeightedRandomSampler([1, 0], 2, replacement=False), ArgumentError, "only 1 weights"),
        (lambda: default_collate([np.ones(2), np.ones(3)]), DataError, r"0 and 1.*\(2,\) and \(3,\)"),
        (lambda: default_collate([{"a": 1}, {"b": 1}]), DataError, "keys"),
        (lambda: default_collate([(1, 2), (1,)]), DataError, "lengths"),
        (lambda: default_collate([None, None]), TypeError, "NoneType.*collate_fn"),
        (lambda: len(Dataset()), NotImplementedError, "__len__"),
    ],
)
def test_what_is_wrong_is_said(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()
