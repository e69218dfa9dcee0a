"""Data for eager loops: sets of examples, orders to see them in, and a loader that makes batches.

Names are those of ``torch.utils.data``.  What is random follows from ``seed``, which may be given as
``generator`` too, or from `manual_seed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, DataError, PlaceError
from cortex_core.generator import Generator, source
from cortex_core.tensor import Tensor

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "random_split",
]

Indices = Sequence[int] | np.ndarray


class Dataset:
    """Examples by number: a subclass says ``__len__`` and ``__getitem__``."""

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no __len__: say how many examples there are")

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__: say what example {index} is")

    def batch(self, indices: Indices) -> Any:
        """Several examples as one batch.  A set that can read them at once says so here."""
        return default_collate([self[int(i)] for i in indices])


class IterableDataset:
    """Examples one after the other: a subclass says ``__iter__``, and ``__len__`` if it knows."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__: say what the examples are")


class TensorDataset(Dataset):
    """Tensors or arrays with a common first axis: example i is the tuple of their rows i."""

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(x if isinstance(x, Tensor) else Tensor(x) for x in tensors)
        if not tensors or any(x.ndim == 0 for x in self.tensors):
            raise DataError("TensorDataset needs tensors with one axis or more, whose first counts examples")
        if len({len(x) for x in self.tensors}) > 1:
            shapes = ", ".join(str(x.shape) for x in self.tensors)
            raise DataError(f"TensorDataset: the shapes {shapes} differ in their first axis, the examples")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(Tensor(x.data[index]) for x in self.tensors)

    def batch(self, indices: Indices) -> tuple[Tensor, ...]:
        return tuple(Tensor(x.data.take(indices, 0)) for x in self.tensors)


class Subset(Dataset):
    """The examples ``indices`` of a set, in this order."""

    def __init__(self, dataset: Any, indices: Indices) -> None:
        self.dataset, self.indices = dataset, np.asarray(indices, np.int64).reshape(-1)
        count = len(dataset)
        wrong = self.indices[(self.indices < 0) | (self.indices >= count)]
        if len(wrong):
            raise DataError(f"Subset: there is no example {wrong[0]} among {count}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[int(self.indices[index])]

    def batch(self, indices: Indices) -> Any:
        return _batch(self.dataset, self.indices.take(indices))


class ConcatDataset(Dataset):
    """Several sets, one behind the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets or any(isinstance(x, IterableDataset) for x in self.datasets):
            raise DataError("ConcatDataset needs at least one set, and sets with examples by number")
        self.ends = np.cumsum([len(x) for x in self.datasets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Any:
        at = int(index) + len(self) if index < 0 else int(index)
        if not 0 <= at < len(self):
            raise PlaceError(f"ConcatDataset: there is no example {index} among {len(self)}")
        which = int(np.searchsorted(self.ends, at, "right"))
        return self.datasets[which][at - (int(self.ends[which - 1]) if which else 0)]


def random_split(
    dataset: Any, lengths: Sequence[float], seed: int | None = None, *, generator: int | None = None
) -> list[Subset]:
    """Parts of a set, drawn without overlap.

    ``lengths`` are numbers of examples that add up to all, or fractions that add up to 1; what rounding
    leaves goes to the first parts, one each.
    """
    count = len(dataset)
    if all(isinstance(x, (int, np.integer)) for x in lengths):
        sizes = [int(x) for x in lengths]
        if sum(sizes) != count or min(sizes, default=0) < 0:
            raise ArgumentError(f"random_split: the lengths {sizes} do not add up to {count} examples")
    else:
        if min(lengths) < 0 or abs(sum(lengths) - 1) > 1e-6:
            raise ArgumentError(f"random_split: the fractions {list(lengths)} do not add up to 1")
        sizes = [int(count * x) for x in lengths]
        for i in range(count - sum(sizes)):
            sizes[i % len(sizes)] += 1
    order = _Draws(seed, generator).permutation(count)
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(sizes)[:-1])]


class _Draws:
    """Random numbers of one seed, or of `manual_seed`; from the raw words of Philox, which NumPy keeps the
    same in all versions.
    """

    def __init__(self, seed: int | None, generator: int | None = None) -> None:
        if generator is not None:
            if seed is not None or not isinstance(generator, (int, np.integer)):
                raise ArgumentError(
                    f"generator is {generator!r:.60} beside seed={seed}; expected one of the two, a whole "
                    "number: it seeds what is drawn here"
                )
            seed = generator
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ArgumentError(f"seed is {seed!r:.60}, expected a whole number from 0 to 2**64 - 1, or None")
        if seed is not None and not 0 <= seed < 2**64:
            raise ArgumentError(f"seed is {seed}, expected one from 0 to 2**64 - 1")
        self.own = None if seed is None else Generator(int(seed))

    def words(self, count: int) -> np.ndarray:
        """64 random bits each."""
        (seed, run), stream = (self.own or source()).next()
        return np.random.Philox(key=[int(seed), stream], counter=[0, 0, int(run), 0]).random_raw(count)

    def permutation(self, count: int) -> np.ndarray:
        """0 .. count - 1 in any order."""
        return np.argsort(self.words(count), kind="stable")

    def uniform(self, count: int) -> np.ndarray:
        """In [0, 1), multiples of 2^-53."""
        return (self.words(count) >> np.uint64(11)) * 2.0**-53


class SequentialSampler:
    """0, 1, 2, ..."""

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))


class RandomSampler:
    """All examples in a random order, another one each time; with ``replacement`` each drawn from all.

    ``num_samples`` (default: as many as there are) may go beyond the examples: then they come again, in
    another order.
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        *,
        seed: int | None = None,
        generator: int | None = None,
    ) -> None:
        self.data_source, self.replacement = data_source, replacement
        self.num_samples = len(data_source) if num_samples is None else _count("num_samples", num_samples)
        self._draws = _Draws(seed, generator)

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        n, count = len(self.data_source), self.num_samples
        if count and not n:
            raise DataError(f"RandomSampler: {count} samples of a data set without examples")
        if self.replacement:
            return iter((self._draws.uniform(count) * n).astype(np.int64).tolist())
        orders = [self._draws.permutation(n) for _ in range(-(-count // n) if n else 0)]
        return iter(np.concatenate([*orders, np.zeros(0, np.int64)])[:count].tolist())


class SubsetRandomSampler:
    """The given indices in a random order."""

    def __init__(self, indices: Indices, *, seed: int | None = None, generator: int | None = None) -> None:
        self.indices, self._draws = list(indices), _Draws(seed, generator)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return (self.indices[i] for i in self._draws.permutation(len(self.indices)))


class WeightedRandomSampler:
    """``num_samples`` indices, drawn with chances that are as the ``weights``.

    Without ``replacement`` each comes at most once (Efraimidis and Spirakis, 2006: the largest u^(1/w)).
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        *,
        seed: int | None = None,
        generator: int | None = None,
    ) -> None:
        self.weights = np.asarray(weights, np.float64).reshape(-1)
        self.num_samples, self.replacement = _count("num_samples", num_samples), replacement
        self._draws = _Draws(seed, generator)
        possible = int((self.weights > 0).sum())
        if not (np.isfinite(self.weights) & (self.weights >= 0)).all() or not possible:
            raise ArgumentError("WeightedRandomSampler: weights must be finite, 0 or more, and not all 0")
        if not replacement and self.num_samples > possible:
            raise ArgumentError(
                f"WeightedRandomSampler: {self.num_samples} samples without replacement, but only {possible} "
                "weights are above 0"
            )

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        if self.replacement:
            sums = np.cumsum(self.weights)
            drawn = np.searchsorted(sums / sums[-1], self._draws.uniform(self.num_samples), "right")
            return iter(drawn.tolist())
        with np.errstate(divide="ignore"):  # u = 0, w = 0: the last of all
            ranks = np.log(self._draws.uniform(len(self.weights))) / self.weights
        return iter(np.argsort(-ranks, kind="stable")[: self.num_samples].tolist())


class BatchSampler:
    """Lists of ``batch_size`` indices; the last, smaller one is left out with ``drop_last``."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool = False) -> None:
        self.sampler, self.drop_last = sampler, drop_last
        self.batch_size = _count("batch_size", batch_size)

    def __len__(self) -> int:
        count: int = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch


class DataLoader:
    """The batches of a set, each time it is iterated over; single examples where ``batch_size`` is None.

    ``shuffle`` takes the examples in another random order each time, which ``seed`` makes the same in every
    run (default: `manual_seed` does).  ``sampler`` gives indices instead, ``batch_sampler`` lists of them; an
    `IterableDataset` has an order of its own.  ``collate_fn`` makes a batch of a list of examples (default:
    `Dataset.batch`, or `default_collate`).
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        *,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[..., Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        generator: int | None = None,
    ) -> None:
        _expect_this_process(num_workers, pin_memory)
        if sampler is not None and shuffle:
            raise ArgumentError("DataLoader: shuffle and sampler both say the order: give one")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ArgumentError(
                "DataLoader: batch_sampler stands for batch_size, shuffle, sampler, drop_last: give it alone"
            )
        if seed is not None and not shuffle:
            raise ArgumentError("DataLoader: seed is that of shuffle=True; a sampler has its own")
        if batch_size is None and drop_last:
            raise ArgumentError("DataLoader: drop_last is of batches; batch_size is None")
        if isinstance(dataset, IterableDataset):
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ArgumentError("DataLoader: an IterableDataset has its own order, without a sampler")
            sampler = dataset
        if sampler is None:
            drawn = RandomSampler(dataset, seed=seed, generator=generator) if shuffle else None
            sampler = drawn or SequentialSampler(dataset)
        self.dataset, self.collate_fn, self.sampler = dataset, collate_fn, sampler
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        own_order, collate = isinstance(self.dataset, IterableDataset), self.collate_fn
        if self.batch_sampler is None:
            for x in self.sampler:
                example = x if own_order else self.dataset[int(x)]
                yield example if collate is None else collate(example)
            return
        for indices in self.batch_sampler:
            if own_order:
                yield (collate or default_collate)(indices)
            elif collate is None:
                yield _batch(self.dataset, indices)
            else:
                yield collate([self.dataset[int(i)] for i in indices])


def _expect_this_process(num_workers: int, pin_memory: bool) -> None:
    if num_workers != 0:
        raise ArgumentError(
            f"DataLoader: num_workers is {num_workers}, expected 0: batches are made in this process, "
            "where the arrays are. What takes long to decode is better decoded once, into arrays"
        )
    if pin_memory:
        raise ArgumentError("DataLoader: pin_memory is True, expected False: batches are ordinary arrays")


def _batch(dataset: Any, indices: Indices) -> Any:
    if isinstance(dataset, Dataset):
        return dataset.batch(indices)
    return default_collate([dataset[int(i)] for i in indices])


def default_collate(examples: Sequence[Any]) -> Any:
    """One batch of many examples: arrays and numbers are stacked along a new first axis, inside of tuples,
    lists and dicts; texts stay a list.

    Raises DataError where the examples differ in shape, length or keys, and TypeError for what cannot be
    stacked.
    """
    first = examples[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic)):
        arrays = [np.asarray(x.data if isinstance(x, Tensor) else x) for x in examples]
        _expect_equal("shapes", [x.shape for x in arrays])
        return Tensor(np.stack(arrays))
    if isinstance(first, (bool, int, float)):
        return Tensor(list(examples))
    if isinstance(first, (str, bytes)):
        return list(examples)
    if isinstance(first, Mapping):
        _expect_equal("keys", [sorted(x, key=repr) for x in examples])
        return {key: default_collate([x[key] for x in examples]) for key in first}
    if isinstance(first, (tuple, list)):
        _expect_equal("lengths", [len(x) for x in examples])
        parts = [default_collate(column) for column in zip(*examples)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    raise TypeError(f"an example holds a {type(first).__name__}, which cannot be stacked: give a collate_fn")


def _expect_equal(what: str, found: Sequence[Any]) -> None:
    for i, x in enumerate(found):
        if x != found[0]:
            raise DataError(
                f"the {what} of examples 0 and {i} of a batch differ: {found[0]} and {x}; give a collate_fn "
                "that brings them together"
            )


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(f"{name} is {value!r:.60}, expected a whole number above 0")
    return int(value)
