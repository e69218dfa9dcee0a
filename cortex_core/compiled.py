"""A network compiled for a purpose: one program per batch size, over one store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cortex_compute.errors import BackendError, DataError, DTypeError, OutOfMemoryError, SpecError
from cortex_compute.protocol import Backend
from cortex_compute.types import TensorType, dtype, float32, int64
from cortex_core.graph.guard import SKIPPED
from cortex_core.graph.plan import Plan
from cortex_core.network import Network, check_batch_size, network
from cortex_core.program import Options, Program, Result, compile_graph
from cortex_core.step import (
    Step,
    data_name,
    evaluate_step,
    predict_graph,
    scalar_name,
    train_step,
    types_of,
)

Purpose = Literal["train", "evaluate", "predict"]
PURPOSES = ("train", "evaluate", "predict")
KEPT = 8  # programs of different batch sizes
LOOK = 64  # steps after which the host looks whether all were good, where it may not look after each
Types = tuple[tuple[str, TensorType], ...]


@dataclass(frozen=True)
class Entry:
    """A program, and for training and evaluation what the host needs beside it.

    ``scalars``: for each segment its multiplier of the rate, and for each number of its update the input.
    """

    program: Program
    step: Step | None
    batch: int
    scalars: tuple[tuple[float, dict[str, str]], ...]


class Compiled:
    """What `cortex.compile` gives.  ``run`` takes a dict of arrays and returns a dict of lazy results.

    Training advances ``network.step`` and the network's own parameters.  A batch of another size, or with
    another length along a free axis, is compiled once; the last eight are kept.
    """

    def __init__(
        self,
        network: Network,
        backend: Backend,
        purpose: Purpose = "train",
        raw: bool = False,
        worker: bool = False,
        options: Options = Options(),  # noqa: B008
    ) -> None:
        if purpose != "predict" and not network.description.losses:
            raise SpecError(f"{network.name}: to {purpose} a network needs a loss; add the section 'loss'")
        if purpose == "train":
            check_precision(network.training.precision, backend)
        self.network, self.backend, self.purpose = network, backend, purpose
        self.store = network.store
        self.raw, self.worker, self.options = raw, worker, options
        self.kept: dict[str, TensorType] = {}
        self._unseen = self._skipped = 0  # steps since the last look; those known to have changed nothing
        self._entries: OrderedDict[Types, Entry] = OrderedDict()
        self._checked: dict[Any, Types] = {}  # shapes and dtypes of batches that were found good
        self._tokens = any(node.kind == "embedding" for node in network.description.layers)
        self._lock = threading.Lock()

    def plan(self, types: Mapping[str, TensorType]) -> tuple[Plan, Step | None]:
        """The plan for these types of inputs and targets; takes no memory."""
        backend = self._backend_for(types)
        if self.purpose == "predict":
            graph = predict_graph(self.network, types, self.raw)
            return compile_graph(graph, backend, self.options), None
        step = (train_step if self.purpose == "train" else evaluate_step)(self.network, types, self.kept)
        return compile_graph(step.graph, backend, self.options), step

    def _backend_for(self, types: Mapping[str, TensorType]) -> Backend:
        """The backend; on one thread to predict one example: a busy core would make the others wait."""
        one = self.purpose == "predict" and _batch(types) == 1
        return self.backend.single() if one else self.backend

    def entry(self, types: Mapping[str, TensorType]) -> Entry:
        """The program for these types, compiled where it is new."""
        return self._entry(tuple(sorted(types.items())))

    def _entry(self, k: Types) -> Entry:
        with self._lock:
            found = self._entries.get(k)
            if found is None:
                types = dict(k)
                plan, step = self.plan(types)
                backend = self._backend_for(types)
                program = self._program(plan, backend, types)
                scalars = tuple(self._scalars(step))
                found = self._entries[k] = Entry(program, step, _batch(types), scalars)
                if len(self._entries) > KEPT:
                    self._entries.popitem(last=False)
            self._entries.move_to_end(k)
            return found

    def _program(self, plan: Plan, backend: Backend, types: Mapping[str, TensorType]) -> Program:
        try:
            return Program(plan, backend, self.store, self.worker, self.options)
        except OutOfMemoryError as error:
            raise self._too_large(plan, types, error) from error

    def _too_large(
        self, plan: Plan, types: Mapping[str, TensorType], error: OutOfMemoryError
    ) -> BackendError:
        """What the plan needs, what is free, and, by the plan of half the batch, what would fit."""
        batch = _batch(types)
        told = f"the program for a batch of {batch} needs {plan.arena / 1e6:.1f} MB; {error}"
        half = {n: t._replace(shape=(max(1, batch // 2), *t.shape[1:])) for n, t in types.items()}
        each = (plan.arena - self.plan(half)[0].arena) / max(1, batch - batch // 2)
        fits = int((error.free - plan.arena) / each) + batch if each > 0 else 0
        remedy = f"a batch of about {fits} would fit" if 0 < fits < batch else "no batch would fit"
        return BackendError(f"{self.network.name}: {told}: {remedy}")

    def fork(self) -> Compiled:
        """The same prediction for another thread: with programs of its own, over the same parameters.

        Raises `BackendError` for training and evaluation, which change states.
        """
        if self.purpose != "predict":
            raise BackendError(f"to {self.purpose} changes states: no second program can run beside it")
        made = Compiled(self.network, self.backend, self.purpose, self.raw, self.worker, self.options)
        made.store = self.store.fork()
        return made

    def types(self, batch: int, streams: Mapping[str, TensorType] | None = None) -> dict[str, TensorType]:
        """The types of what a run takes, for a batch size."""
        types = types_of(self.network, batch, streams)
        if self.purpose == "predict":
            return {x.name: types[x.name] for x in self.network.description.inputs}
        return types

    def run(self, inputs: Mapping[str, Any], learning_rate: float | None = None) -> dict[str, Result]:
        """One step over a batch: {name: array} for each input and target."""
        if not isinstance(inputs, Mapping):
            raise TypeError(f"a batch is a dict of arrays, not {type(inputs).__name__}")
        arrays = {name: np.asarray(x) for name, x in inputs.items()}
        signature = tuple([(name, a.shape, a.dtype) for name, a in arrays.items()])
        types = self._checked.get(signature)
        if types is None:
            if len(self._checked) > 8 * KEPT:
                self._checked.clear()
            types = self._checked[signature] = tuple(sorted(self._types_of(arrays).items()))
        entry = self._entry(types)
        if self._tokens:
            check_tokens(self.network.description, arrays)
        if self.purpose != "predict":
            self._check_labels(arrays)
        with entry.program.alone:
            self.set_scalars(entry, learning_rate)
            results = self.launch(entry, arrays)
        if self.due:
            self.look()
        return results

    def launch(
        self, entry: Entry, arrays: Mapping[str, Any] | None = None, results: bool = True
    ) -> dict[str, Result]:
        """Runs a program over its inputs, after copying ``arrays`` there."""
        skipped = entry.program.skipped
        found = entry.program.run(arrays, results)
        if self.purpose == "train":
            self.network.step += 1
            self._unseen += 1
            self._skipped += entry.program.skipped - skipped
        return found

    @property
    def due(self) -> bool:
        """Whether it is time to `look`."""
        return self._unseen >= (LOOK if self.backend.asynchronous else 1)

    def look(self) -> int:
        """How many steps since the last look changed nothing, since the loss was not finite.

        Where the host may not look after each step, the steps behind such a one change nothing either, until
        this has been called.  It waits for all of them.
        """
        skipped, self._skipped = self._skipped, 0
        if self.backend.asynchronous and self._unseen:
            skipped = int(self.store.array(SKIPPED))
            if skipped:
                self.store.write(SKIPPED, np.zeros((), np.int64))
        self._unseen = 0
        self.network.step -= skipped
        return skipped

    def keep(self, streams: Mapping[str, TensorType], pieces: Iterable[Mapping[str, np.ndarray]]) -> None:
        """Brings whole streams of data to the device, piece by piece; a batch is then its `ROWS`.

        Only before the first program is made.  ``streams``: the type of each, all examples together.
        """
        self.store.move(self.backend.devices()[0])
        self.kept = dict(streams)
        start = 0
        for piece in pieces:
            for name, array in piece.items():
                self.store.fill(data_name(self.purpose, name), streams[name], start, array)
            start += len(next(iter(piece.values())))

    def release(self) -> None:
        """Gives back the memory of the data that lie on the device; no program runs afterwards."""
        self._entries.clear()
        for name in self.kept:
            self.store.drop(data_name(self.purpose, name))

    def set_scalars(self, entry: Entry, learning_rate: float | None = None) -> None:
        """Writes what changes from step to step (rates, bias corrections), computed here in float64."""
        if self.purpose != "train" or entry.step is None:
            return
        optimizer = self.network.training.optimizer
        rate = optimizer.learning_rate if learning_rate is None else learning_rate
        for multiplier, inputs in entry.scalars:
            numbers = optimizer.scalars(self.network.step + 1, rate * multiplier)
            for name, value in numbers.items():
                entry.program.write(inputs[name], value)

    def _scalars(self, step: Step | None) -> Iterator[tuple[float, dict[str, str]]]:
        optimizer = self.network.training.optimizer
        for segment in step.segments if step is not None else ():
            names = optimizer.scalars(1, optimizer.learning_rate)
            yield segment.multiplier, {n: scalar_name(segment, n) for n in names}

    def totals(self, entry: Entry) -> dict[str, Any]:
        """The loss and the metrics over all batches since `reset`."""
        assert entry.step is not None
        sums = entry.step.accumulators
        arrays = {n: self.network.store.array(n).copy() for n in sums.states}
        return {name: finish(arrays) for name, finish in sums.finish.items()}

    def reset(self, entry: Entry) -> None:
        """Starts the sums of the loss and the metrics anew."""
        assert entry.step is not None
        store = self.network.store
        for name in entry.step.accumulators.states:
            store.write(name, np.zeros_like(store.array(name)))

    def _types_of(self, arrays: Mapping[str, np.ndarray]) -> dict[str, TensorType]:
        names = [x.name for x in self.network.description.inputs]
        if self.purpose != "predict":
            names += [x.target for x in self.network.description.losses]
        missing, unknown = set(names) - set(arrays), set(arrays) - set(names)
        if missing or (unknown and self.purpose != "predict"):
            wrong = f"missing {sorted(missing)}" if missing else f"unknown {sorted(unknown)}"
            raise DataError(f"a batch needs {', '.join(dict.fromkeys(names))}: {wrong}")
        sizes = {n: arrays[n].shape[0] if arrays[n].ndim else 0 for n in names}
        if len(set(sizes.values())) > 1:
            raise DataError(f"the arrays of a batch differ in length: {sizes}")
        return {n: self._type_of(n, arrays[n]) for n in names}

    def _type_of(self, name: str, array: np.ndarray) -> TensorType:
        for x in self.network.description.inputs:
            if x.name == name:
                check_input(x, array)
                return TensorType(array.shape, dtype(x.dtype))
        if array.dtype.kind not in "fiub":
            raise DTypeError(f"target {name!r} holds {array.dtype}, expected numbers")
        return TensorType(array.shape, int64 if array.dtype.kind in "iub" else float32)

    def _check_labels(self, arrays: Mapping[str, np.ndarray]) -> None:
        for node in self.network.description.losses:
            labels = arrays[node.target]
            if labels.dtype.kind in "iu" and labels.size:
                check_labels(labels, self.network.types[node.of].shape[-1], node, node.target)


def _batch(types: Mapping[str, TensorType]) -> int:
    return next(iter(types.values())).shape[0]


def check_precision(name: str, backend: Backend) -> None:
    """Raises a `BackendError` where no network can be trained in this precision on the backend."""
    reason = backend.precision(dtype(name))
    if reason:
        raise BackendError(f"precision {name}: {reason}")


def check_input(x: Any, array: np.ndarray) -> None:
    """Raises an error where an array cannot be the input ``x`` of a description, batch axis included."""
    fits = array.ndim == 1 + len(x.shape) and all(n in (None, m) for n, m in zip(x.shape, array.shape[1:]))
    if not fits:
        expected = ", ".join("any" if n is None else str(n) for n in ("examples", *x.shape))
        raise DataError(f"input {x.name!r} has shape {array.shape}, expected ({expected})")
    if not np.can_cast(array.dtype, dtype(x.dtype).storage, "same_kind"):
        raise DTypeError(f"input {x.name!r} holds {array.dtype}, expected {x.dtype}")


def check_labels(labels: np.ndarray, classes: int, node: Any, name: str, start: int = 0) -> None:
    """A class index that does not exist is a `DataError`; the loss's ignored index is none.

    ``start`` is the number of the first example.
    """
    if node.kind != "softmax_cross_entropy":
        return
    bad = (labels < 0) | (labels >= classes)
    ignored = getattr(node.loss, "ignore_index", None)
    if ignored is not None:
        bad &= labels != ignored
    if bad.any():
        first = int(np.flatnonzero(bad.reshape(len(labels), -1).any(axis=1))[0])
        worst = labels.reshape(-1)[int(np.flatnonzero(bad.reshape(-1))[0])]
        raise DataError(
            f"stream {name!r}: example {start + first} has label {worst}, "
            f"the classes of {node.of!r} are 0 to {classes - 1}"
        )


def check_tokens(description: Any, arrays: Mapping[str, np.ndarray], start: int = 0) -> None:
    """A token that an embedding does not have is a `DataError`; ``arrays`` begin at example ``start``."""
    for node in description.layers:
        tokens = arrays.get(node.sources[0]) if node.kind == "embedding" else None
        if tokens is None or not tokens.size:
            continue
        bad = (tokens < 0) | (tokens >= node.layer.tokens)
        if bad.any():
            first = int(np.flatnonzero(bad.reshape(len(tokens), -1).any(axis=1))[0])
            worst = tokens.reshape(-1)[int(np.flatnonzero(bad.reshape(-1))[0])]
            raise DataError(
                f"input {node.sources[0]!r}: example {start + first} has token {worst}, "
                f"the tokens of {node.id!r} are 0 to {node.layer.tokens - 1}"
            )


def compile(
    x: Any,
    backend: str = "auto",
    batch_size: int | None = None,
    purpose: Purpose = "train",
    seed: int | None = None,
    **options: Any,
) -> Compiled:
    """Compiles a network (or a description) for a purpose: "train", "evaluate" or "predict".

    With ``batch_size`` the program for that size is made at once; else at the first run.  ``seed`` draws the
    parameters anew.  ``options``: ``fusion``, ``pooling``, ``poison`` (see `Options`).
    """
    from cortex_compute.backends import get

    if purpose not in PURPOSES:
        raise SpecError(f"purpose is {purpose!r}; known are {', '.join(PURPOSES)}")
    if batch_size is not None:
        check_batch_size(batch_size)
    unknown = sorted(set(options) - set(Options.__dataclass_fields__))
    if unknown:
        known = ", ".join(["backend", "batch_size", "purpose", "seed", *Options.__dataclass_fields__])
        raise TypeError(f"compile() takes no {unknown[0]!r}; it takes {known}")
    made = network(x)
    if seed is not None:
        made.initialize(seed)
    compiled = Compiled(made, get(backend), purpose, options=Options(**options))
    if batch_size is not None:
        compiled.entry(compiled.types(batch_size))
    return compiled
