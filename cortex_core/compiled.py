"""A network compiled for a purpose: one program per batch size, over one store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from cortex_compute.errors import BackendError, DataError, DTypeError, OutOfMemoryError, ShapeError, SpecError
from cortex_compute.frozen import frozen
from cortex_compute.protocol import Backend
from cortex_compute.types import TensorType, dtype, float32, int64
from cortex_core.given import WholeNumbers, check_input, check_numbers
from cortex_core.graph.guard import SKIPPED
from cortex_core.graph.plan import Plan
from cortex_core.graph.value import Graph, flops, is_leaf
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
LIGHT = 1e8
"""Operations that a core does in about a millisecond; see `_is_light`."""
LOOK = 64  # steps after which the host looks whether all were good, where it may not look after each
Types = tuple[tuple[str, TensorType], ...]


@frozen
class Entry:
    """A program, and for training and evaluation what the host needs beside it.

    ``scalars``: for each segment its multiplier of the rate, and what writes each number of its update.
    """

    program: Program
    step: Step | None
    batch: int
    scalars: tuple[tuple[float, dict[str, Callable[[float], None]]], ...]


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
        halting: bool = False,
    ) -> None:
        if purpose != "predict" and not network.description.losses:
            raise SpecError(f"{network.name}: to {purpose} a network needs a loss; add the section 'loss'")
        if purpose == "train":
            check_precision(network.training.precision, backend)
        self.network, self.backend, self.purpose = network, backend, purpose
        self.store = network.store
        self.raw, self.worker, self.options, self.halting = raw, worker, options, halting
        self.kept: dict[str, TensorType] = {}
        self._data: dict[str, Any] = {}  # the buffers of whole streams, by the names of their states
        self._unseen = self._skipped = 0  # steps since the last count; those known to have changed nothing
        if purpose == "train" and SKIPPED in self.store.types:  # of a training that nobody looked after
            self.store.write(SKIPPED, np.zeros((), np.int64))
        self._entries: OrderedDict[Types, Entry] = OrderedDict()
        self._checked: dict[Any, Types] = {}  # shapes and dtypes of batches that were found good
        self._numbers = WholeNumbers(network)
        self._lock = threading.Lock()

    def plan(self, types: Mapping[str, TensorType]) -> tuple[Plan, Step | None]:
        """The plan for these types of inputs and targets; takes no memory."""
        plan, step, _ = self._plan(types)
        return plan, step

    def _plan(self, types: Mapping[str, TensorType]) -> tuple[Plan, Step | None, Backend]:
        """The plan, and the backend that it is for."""
        if self.purpose == "predict":
            graph = predict_graph(self.network, types, self.raw)
            light = _batch(types) == 1 and _is_light(graph)
            backend = self.backend.single() if light else self.backend
            return compile_graph(graph, backend, self.options), None, backend
        if self.purpose == "train":
            self._check_carried(_batch(types))
        step = (train_step if self.purpose == "train" else evaluate_step)(self.network, types, self.kept)
        return compile_graph(step.graph, self.backend, self.options, self.halting), step, self.backend

    def _check_carried(self, batch: int) -> None:
        """What a batch hands to the next one is there once for each of its examples."""
        for name in self.network.carried:
            kept = self.store.types.get(name)
            if kept is not None and kept.shape[0] != batch:
                told = f"'{name}' keeps a state for each of {kept.shape[0]} examples, the batch has {batch}"
                raise ShapeError(f"{told}; train with batches of one size (train.batch_size)")

    def entry(self, types: Mapping[str, TensorType]) -> Entry:
        """The program for these types, compiled where it is new."""
        return self._entry(tuple(sorted(types.items())))

    def _entry(self, k: Types) -> Entry:
        with self._lock:
            found = self._entries.get(k)
            if found is None:
                types = dict(k)
                plan, step, backend = self._plan(types)
                program = self._program(plan, backend, types)
                scalars = tuple(self._scalars(program, step))
                found = self._entries[k] = Entry(program, step, _batch(types), scalars)
                if len(self._entries) > KEPT:
                    self._entries.popitem(last=False)
            self._entries.move_to_end(k)
            return found

    def _program(self, plan: Plan, backend: Backend, types: Mapping[str, TensorType]) -> Program:
        try:
            return Program(plan, backend, self.store, self.worker, self.options, self._data)
        except OutOfMemoryError as error:
            raise self._too_large(plan, types, error) from error

    def _too_large(
        self, plan: Plan, types: Mapping[str, TensorType], error: OutOfMemoryError
    ) -> BackendError:
        """What the plan needs, what is free, and, by the plan of half the batch, what would fit."""
        batch = _batch(types)
        half = {n: t._replace(shape=(max(1, batch // 2), *t.shape[1:])) for n, t in types.items()}
        each = (plan.arena - self.plan(half)[0].arena) / max(1, batch - batch // 2)
        fits = int((error.free - plan.arena) / each) + batch if each > 0 else 0
        remedy = f"a batch of about {fits} would fit" if 0 < fits < batch else "no batch would fit"
        return BackendError(
            f"{self.network.name}: the activations for a batch of {batch} need {plan.arena / 1e6:.1f} MB; "
            f"{error}: {remedy}"
        )

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
        if self._numbers.streams:
            self._numbers.check(arrays)
        if self.purpose != "predict":
            self._check_numbers(arrays)
        with entry.program.alone:
            self.set_scalars(entry, learning_rate)
            results = self.launch(entry, arrays)
        if self.due:
            self._count_skipped()
        return results

    def launch(
        self, entry: Entry, arrays: Mapping[str, Any] | None = None, results: bool = True
    ) -> dict[str, Result]:
        """Runs a program over its inputs, after copying ``arrays`` there."""
        skipped = entry.program.skipped
        found = entry.program.run(arrays, results)
        if self.purpose == "train":
            good = entry.program.skipped == skipped
            self.network.step += good
            if good:
                self.network.changed("trained")
            self._skipped += not good
            self._unseen += 1
        return found

    @property
    def due(self) -> bool:
        """Whether it is time to `look`."""
        return self._unseen >= (LOOK if self.backend.asynchronous else 1)

    def look(self) -> int:
        """How many steps since the last call changed nothing, since the loss was not finite.

        On a device that works beside the host it waits for the steps so far.  There a ``halting`` program
        changes nothing behind such a step either, until this was called.
        """
        self._count_skipped()
        skipped, self._skipped = self._skipped, 0
        return skipped

    def _count_skipped(self) -> None:
        """Takes over what the device has counted; `launch` has taken each of those steps for a good one."""
        if self.backend.asynchronous and self._unseen:
            skipped = int(self.store.array(SKIPPED))
            if skipped:
                self.store.write(SKIPPED, np.zeros((), np.int64))
                self.network.step -= skipped
                self._skipped += skipped
        self._unseen = 0

    def keep(self, streams: Mapping[str, TensorType], pieces: Iterable[Mapping[str, np.ndarray]]) -> None:
        """Brings whole streams of data to the device, piece by piece; a batch is then its `ROWS`.

        Only before the first program is made.  ``streams``: the type of each, all examples together.
        """
        device = self.backend.devices()[0]
        stream, made, start = device.stream(), {n: device.empty(t.nbytes) for n, t in streams.items()}, 0
        for piece in pieces:
            for name, array in piece.items():
                row = streams[name].nbytes // streams[name].shape[0]
                stream.copy(array, made[name].view(TensorType(array.shape, streams[name].dtype), start * row))
            start += len(next(iter(piece.values())))
        stream.synchronize()
        self.kept = dict(streams)
        self._data = {data_name(name): buffer for name, buffer in made.items()}

    def close(self) -> None:
        """Gives back the memory of its programs, and of data that lie on the device."""
        for entry in self._entries.values():
            entry.program.close()
        self._entries.clear()
        self._data = {}

    def set_scalars(self, entry: Entry, learning_rate: float | None = None) -> None:
        """Writes what changes from step to step (rates, bias corrections), computed here in float64."""
        if self.purpose != "train" or entry.step is None:
            return
        if not self.backend.asynchronous:
            self.network.store.settle()
        optimizer = self.network.training.optimizer
        rate = optimizer.learning_rate if learning_rate is None else learning_rate
        for multiplier, setters in entry.scalars:
            numbers = optimizer.scalars(self.network.step + 1, rate * multiplier)
            for name, value in numbers.items():
                setters[name](value)

    def _scalars(
        self, program: Program, step: Step | None
    ) -> Iterator[tuple[float, dict[str, Callable[[float], None]]]]:
        optimizer = self.network.training.optimizer
        for segment in step.segments if step is not None else ():
            names = optimizer.scalars(1, optimizer.learning_rate)
            yield segment.multiplier, {n: program.setter(scalar_name(segment, n)) for n in names}

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
            store.write(name, np.zeros(store.types[name].shape, store.types[name].dtype.storage))

    def _types_of(self, arrays: Mapping[str, np.ndarray]) -> dict[str, TensorType]:
        names = [x.name for x in self.network.description.inputs]
        if self.purpose != "predict":
            names += self.network.description.loss_streams
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

    def _check_numbers(self, arrays: Mapping[str, np.ndarray]) -> None:
        for node in self.network.description.losses:
            check_numbers(self.network, node, arrays)


def _batch(types: Mapping[str, TensorType]) -> int:
    return next(iter(types.values())).shape[0]


def _is_light(graph: Graph) -> bool:
    """Whether each kernel, or each step of a recurrence, is short: then threads cost what they save, and
    where another program keeps a core busy they wait for it."""
    inner = (node for node in graph.nodes() if not is_leaf(node))
    return all(flops(node) < LIGHT * node.primitive.turns(*(x.type for x in node.inputs)) for node in inner)


def check_precision(name: str, backend: Backend) -> None:
    """Raises a `BackendError` where no network can be trained in this precision on the backend."""
    reason = backend.precision(dtype(name))
    if reason:
        raise BackendError(f"precision {name}: {reason}")


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
