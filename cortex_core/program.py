"""A graph and a backend become something that runs: a list of bound calls over planned memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.errors import BackendError, DataError
from cortex_compute.frozen import frozen
from cortex_compute.protocol import Backend, Launch, Operand, Refusal
from cortex_core.graph.casts import join_casts
from cortex_core.graph.fold import fold
from cortex_core.graph.fuse import fuse
from cortex_core.graph.guard import guard_by_select
from cortex_core.graph.layout import dense_operands, lay_out_weights
from cortex_core.graph.memory import make_plan
from cortex_core.graph.plan import ARENA, KEPT, Instruction, Location, Plan
from cortex_core.graph.simplify import rewrite, simplify
from cortex_core.graph.value import Graph, Value, is_leaf
from cortex_core.ops.apply import at
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import DECOMPOSITIONS, decompose
from cortex_core.store import Store

NO_DATA: Mapping[str, Any] = {}
TOGETHER = 32  # times that a profile runs one kernel of a device that works beside the host, as one launch


@frozen
class Options:
    """What may be switched off, to compare: fusion, sharing of memory, filling dead memory with 0xFF."""

    fusion: bool = True
    pooling: bool = True
    poison: bool = False


EVERYTHING = Options()


def compile_graph(
    graph: Graph, backend: Backend, options: Options = EVERYTHING, halting: bool = False
) -> Plan:
    """Everything from a traced graph to its plan.  Pure: no memory is taken.

    ``halting``: see `guard_by_select`.
    """
    if backend.asynchronous:
        graph = guard_by_select(graph, halting)
    graph = simplify(lower(graph, backend))
    if options.fusion:
        graph = simplify(fold(graph))
        graph = fuse(join_casts(graph) if backend.asynchronous else graph, backend)
    graph = dense_operands(graph, backend)
    if options.fusion:
        graph = lay_out_weights(graph, backend)
    return make_plan(graph, backend, options.pooling)


def lower(graph: Graph, backend: Backend) -> Graph:
    """The graph with what the backend refuses said in simpler ops, until it refuses nothing."""
    refused: dict[Node, Refusal] = {}
    for node in graph.nodes():
        if not is_leaf(node) and not node.primitive.view:
            offer = backend.offer(node.primitive, tuple(Operand(x.type) for x in node.inputs))
            if isinstance(offer, Refusal):
                refused[node] = offer
    if not refused:
        return graph

    def rule(node: Node, inputs: list[Value]) -> Any:
        if node not in refused:
            return None
        if type(node.primitive) not in DECOMPOSITIONS:
            raise BackendError(f"{backend.name}: {node.primitive}: {refused[node].reason}")
        with at(node.place):
            return list(decompose(node, inputs))

    return lower(rewrite(graph, rule), backend)


class Result:
    """A number or an array that a run gives; reading it waits for the run."""

    __slots__ = ("_array", "_event")

    def __init__(self, array: np.ndarray, event: Any) -> None:
        self._array = array
        self._event = event

    def numpy(self) -> np.ndarray:
        """The numbers."""
        self._event.synchronize()
        return self._array

    def item(self) -> Any:
        """The one number that it holds."""
        return self.numpy().item()

    def __float__(self) -> float:
        return float(self.numpy())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array.astype(dtype) if dtype is not None else array.copy() if copy else array

    def __repr__(self) -> str:
        return repr(self.numpy())


class Alone:
    """A lock that another thread does not wait for: it gets an error.  Its holder may take it again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise BackendError(
                "this program is running in another thread; that one needs its own: compiled.fork()"
            )

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class Program:
    """A plan bound to memory.  ``run`` is one step; ``inputs`` are the buffers that a run reads.

    The states lie in the store, the rest in the store's arena, which the programs of one store share: they
    take turns.  A program is not reentrant: a second thread gets an error, and nothing is changed.  Whoever
    prepares its inputs for a run holds ``alone``.  ``written`` names the states that it changes.  ``data``:
    buffers of somebody else's for states that are only read, by name.
    """

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        store: Store,
        worker: bool = False,
        options: Options = EVERYTHING,
        data: Mapping[str, Any] = NO_DATA,
    ) -> None:
        self.plan, self.backend, self.store, self.options = plan, backend, store, options
        self.data = data
        self.worker = worker
        self.device = backend.devices()[0]
        self.stream = self.device.stream(worker)
        self._buffers: dict[str, Any] = {}
        self._calls: list[Launch] = []
        self._spans: dict[tuple[int, int], Launch | None] = {}
        self._bound = (-1, -1)
        self.alone = Alone()
        self.skipped = 0
        self.closed = False
        self._inbox: Any = self.device.inbox({name: where.type for name, where in plan.inputs.items()})
        for name, where in plan.inputs.items():
            self._buffers[where.buffer] = self._inbox.buffers[name]
        self.inputs = {name: self._array(where) for name, where in plan.inputs.items()}
        store.move(self.device)
        self._own = {name: type for name, type in plan.states.items() if name not in data}
        for name, type in self._own.items():
            store.ensure(name, type)
        for name, array in plan.constants.items():
            self._buffers[name] = self.device.empty(max(1, array.nbytes))
            self.stream.copy(array, self._array(Location(name, 0, _type_of(array))))
        self.stream.synchronize()
        if plan.kept:
            self._buffers[KEPT] = self.device.empty(plan.kept)
        self._version = -1  # of the states from which the prologue was computed
        self._read = _read(plan.instructions[: plan.prologue])
        self.written = _written(plan)
        store.arena.reserve(self.device, plan.arena)

    def _array(self, where: Location | None) -> Any:
        if where is None:
            return None
        return self._buffers[where.buffer].view(where.type, where.offset, where.strides)

    def bind(self) -> None:
        """Builds the kernels and fixes their memory; done before the first run, and after the arena has
        grown or a state has moved.
        """
        self.store.arena.reserve(self.device, self.plan.arena)
        self._buffers[ARENA] = self.store.arena.buffer
        for name in self.plan.states:
            own = self._own.get(name)
            self._buffers[f"state:{name}"] = self.data[name] if own is None else self.store.ensure(name, own)
        with self.stream.active():
            kernels = [x.offer.build() for x in self.plan.instructions]  # all first: some compile meanwhile
            self._calls = [
                kernel.bind(
                    [self._array(x) for x in instruction.inputs],
                    [self._array(x) for x in instruction.outputs],
                    self._array(instruction.workspace),
                )
                for kernel, instruction in zip(kernels, self.plan.instructions)
            ]
        self._predicate = self._array(self.plan.predicate)
        self._outputs = {name: self._array(where) for name, where in self.plan.outputs.items()}
        self._bound, self._version = self.store.version, -1
        self._spans.clear()
        self._dead = _deaths(self.plan) if self.options.poison else {}

    def run(self, inputs: Mapping[str, Any] | None = None, results: bool = True) -> dict[str, Result]:
        """One step.  ``inputs`` are copied into the program's buffers; the others keep what they hold.

        Without ``results`` the outputs are not copied out: for a step of which only the states matter.
        """
        if self.closed:
            raise BackendError("this program was closed")
        with self.alone, self.store.lock, self.stream.active():
            self.store.move(self.device)
            if self._bound != self.store.version:
                self.bind()
            try:
                self.store.wait(self.stream, bool(self.written))
                for name, value in (inputs or {}).items():
                    self.write(name, value)
                self._inbox.send(self.stream)
                self._execute()
                return self._results() if results else self._end()
            except BaseException:  # of this run, or of one before it whose error only shows now
                self._version = -1
                with suppress(Exception):
                    self.store.settle()
                raise

    def write(self, name: str, value: Any) -> None:
        """Writes one input for the next run."""
        target = self.inputs.get(name)
        if target is None:
            raise DataError(f"unknown input {name!r}; this program takes {', '.join(self.inputs)}")
        source = value if isinstance(value, np.ndarray) else np.asarray(value)
        if source.shape != target.shape:
            raise DataError(f"input {name!r} has shape {source.shape}, this program takes {target.shape}")
        self._inbox.write(self.stream, name, source)

    def _execute(self) -> None:
        start, tail, end = self.plan.prologue, self.plan.tail, self.plan.end
        version = self.store.changes(self._read)
        if self._version != version:
            self._launch(0, start)
            self._version = version
        self.store.changed(self.written)  # whatever becomes of the rest of this run
        if self._predicate is None:
            self._launch(start, len(self._calls))
            return
        self._launch(start, tail)
        if self._passes():
            self._launch(tail, end)
        self._launch(end, len(self._calls))

    def _launch(self, start: int, stop: int) -> None:
        """The calls from ``start`` to ``stop``: one by one, or, from the second run on, as one launch of a
        device that works beside the host.
        """
        if self.backend.asynchronous and not self._dead and start < stop:
            self._launch_joined(start, stop)
        elif self._dead:
            self._launch_poisoned(start, stop)
        else:
            stream = self.stream
            for call in self._calls[start:stop]:
                call(stream)

    def _launch_joined(self, start: int, stop: int) -> None:
        span = start, stop
        if span not in self._spans:
            self._spans[span] = None
            for call in self._calls[start:stop]:
                call(self.stream)
            return
        joined = self._spans[span]
        if joined is None:
            joined = self._spans[span] = self.stream.joined(self._calls[start:stop])
        joined(self.stream)

    def _launch_poisoned(self, start: int, stop: int) -> None:
        """Fills, after each call, what nobody reads any more."""
        for t, call in enumerate(self._calls[start:stop], start):
            call(self.stream)
            self.stream.synchronize()
            for memory in self._dead[t]:
                self._array(memory).fill(0xFF)

    def _passes(self) -> bool:
        """Whether the guarded tail may run: the host looks."""
        self.stream.synchronize()
        good = bool(self._predicate)
        self.skipped += not good
        return good

    def _results(self) -> dict[str, Result]:
        copies = {name: self.stream.fetch(a) for name, a in self._outputs.items()}
        event = self.stream.record()
        self.store.ran(self.stream, event, bool(self.written))
        return {name: Result(array, event) for name, array in copies.items()}

    def _end(self) -> dict[str, Result]:
        self.store.ran(self.stream, self.stream.tail(), bool(self.written))
        return {}

    def setter(self, name: str) -> Callable[[float], None]:
        """What writes a number into an input, after the runs before have read theirs."""
        if self.backend.asynchronous:
            return partial(self._inbox.write, self.stream, name)
        fill: Callable[[float], None] = self.inputs[name].fill
        return fill

    def close(self) -> None:
        """Gives back its memory but for the states, after the last run; it cannot run again."""
        self.store.settle()
        self._buffers.clear()
        self._calls, self._spans, self._outputs, self.inputs = [], {}, {}, {}
        self._predicate = self._inbox = None
        self.closed = True

    def profile(self, runs: int = 10) -> list[dict[str, Any]]:
        """Each instruction's seconds (the median and the fastest of some runs), its FLOPs and bytes, and the
        place it came from.

        ``prologue`` marks those that run only when the weights have changed.  Every instruction runs,
        whatever the predicate says: the states change.
        """
        with self.alone, self.store.lock, self.stream.active():
            self.store.settle()
            self.store.move(self.device)
            self.bind()
            self._inbox.send(self.stream)
            self.store.changed(self.written)
            calls, times = self._calls, 1
            if self.backend.asynchronous:  # to launch and to wait would take longer than most kernels
                times = TOGETHER
                for call in calls:
                    call(self.stream)
                calls = [self.stream.joined([call] * times) for call in calls]
            seconds = np.zeros((runs, len(calls)))
            for r in range(runs):
                for i, call in enumerate(calls):
                    start = time.perf_counter()
                    call(self.stream)
                    self.stream.synchronize()
                    seconds[r, i] = (time.perf_counter() - start) / times
        return [
            {
                "primitive": str(x.primitive),
                "operands": [str(t) for t in x.types],
                "seconds": float(np.median(s)),
                "fastest": float(np.min(s)),
                "flops": x.primitive.flops(*x.types),
                "bytes": x.primitive.nbytes(*x.types),
                "place": str(x.place or ""),
                "implementation": x.offer.implementation or self.backend.name,
                "prologue": i < self.plan.prologue,
            }
            for i, (x, s) in enumerate(zip(self.plan.instructions, seconds.T))
        ]

    def fork(self) -> Program:
        """The same program over the same states with an arena of its own, for another thread.

        Only for a program that changes no state; nor may another one change them while a fork runs.
        """
        if self.written:
            raise BackendError("this program changes its states, so that no second one can run beside it")
        return Program(self.plan, self.backend, self.store.fork(), self.worker, self.options)


def _read(instructions: Sequence[Instruction]) -> list[str]:
    """The names of the states that some instructions read."""
    return _states(x for i in instructions for x in i.inputs if x is not None)


def _written(plan: Plan) -> list[str]:
    """The names of the states that a program changes."""
    return _states(x for i in plan.instructions for x in i.outputs)


def _states(places: Iterable[Location]) -> list[str]:
    buffers = dict.fromkeys(x.buffer for x in places)
    return [b.removeprefix("state:") for b in buffers if b.startswith("state:")]


def _type_of(array: np.ndarray) -> Any:
    from cortex_compute.types import TensorType, dtype

    return TensorType(array.shape, dtype(array.dtype))


def _deaths(plan: Plan) -> dict[int, list[Location]]:
    """After which instruction which bytes of the arena hold nothing that is read again."""
    from cortex_compute.types import TensorType, uint8

    end = [x for x in [*plan.outputs.values(), plan.predicate] if x is not None]
    alive = np.zeros(plan.arena, bool)
    for where in end:
        _mark(alive, where, True)
    dead: dict[int, list[Location]] = {}
    for t in reversed(range(len(plan.instructions))):
        instruction = plan.instructions[t]
        before = alive.copy()
        touched = [
            x for x in (*instruction.inputs, *instruction.outputs, instruction.workspace) if x is not None
        ]
        spans = [span for x in touched for span in _spans(x, before)]
        dead[t] = [Location(ARENA, a, TensorType((b - a,), uint8)) for a, b in spans]
        for x in instruction.outputs:
            _mark(alive, x, False)
        for y in instruction.inputs:
            if y is not None:
                _mark(alive, y, True)
    return dead


def _extent(where: Location) -> tuple[int, int]:
    item = where.type.dtype.itemsize
    if where.strides is None or 0 in where.type.shape:
        return where.offset, where.offset + where.type.nbytes
    steps = [(n - 1) * s * item for n, s in zip(where.type.shape, where.strides)]
    return where.offset + sum(min(0, s) for s in steps), where.offset + sum(max(0, s) for s in steps) + item


def _mark(alive: np.ndarray, where: Location, value: bool) -> None:
    if where.buffer == ARENA:
        low, high = _extent(where)
        if value or where.strides is None:
            alive[low:high] = value


def _spans(where: Location, alive: np.ndarray) -> list[tuple[int, int]]:
    """The runs of bytes under ``where`` that nothing reads later."""
    if where.buffer != ARENA:
        return []
    low, high = _extent(where)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~alive[low:high], [False]]).astype(np.int8)))
    return [(low + int(a), low + int(b)) for a, b in zip(edges[::2], edges[1::2])]
