"""`trace_step`: the training loop of eager code becomes one program per step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import numpy as np

from cortex_compute.backends import get
from cortex_compute.errors import CortexError, ShapeError
from cortex_compute.protocol import Device
from cortex_compute.types import DType, TensorType
from cortex_core.graph.order import turn_inputs, wanted_orders
from cortex_core.graph.value import Graph, State, Update, Value, constant, input_value, state_value
from cortex_core.machine import expect_host
from cortex_core.ops.apply import apply
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.pointwise import cast, divide, isfinite, minimum, sqrt
from cortex_core.ops.reduce import sum as total_of
from cortex_core.ops.views import reshape, slice_, transpose
from cortex_core.program import Program, Result, compile_graph
from cortex_core.recording import Memory, Recording, modules_of
from cortex_core.tensor import Tensor
from cortex_core.tracing import Entry, Programs, as_array, modes, type_of
from cortex_core.tree import flatten, unflatten

LINE = 16  # numbers of float32 on a cache line


def trace_step(
    module: Callable[..., Any],
    criterion: Callable[..., Any],
    optimizer: Any,
    inputs: Any,
    targets: Any,
    backend: str = "auto",
    clip_norm: float | None = None,
) -> TracedStep:
    """A program for ``loss = criterion(module(inputs), targets)``, its gradients and ``optimizer.step()``.

    ``step = trace_step(...)``, then ``step(inputs, targets)`` gives the loss, which `float` waits for.
    ``inputs`` may be a tuple of the arguments of ``module``; see `cortex.trace` for what arrays may be, and
    for what becomes part of the program.  The examples are only looked at.  With ``clip_norm`` the gradients
    are scaled so that their norm over all parameters is at most that.

    The numbers are those of the eager loop: the module's parameters and buffers and the optimiser's state are
    changed in their own memory, the rate of each group is read anew at each step, and eager steps,
    ``load_state_dict`` and schedulers may come in between.  Three things differ.  The parameters that an
    optimiser updates alike move into one array, so that arrays that were taken from them before (``numpy()``)
    are left behind.  ``grad`` is not filled, and hooks on gradients are refused.  And where the loss (or the
    norm) is not finite the step changes nothing, and ``step.skipped`` counts it.

    Raises `CortexError` for an optimiser without a formula for one number (LBFGS), and where no parameter has
    a gradient.
    """
    step = TracedStep(module, criterion, optimizer, backend, clip_norm)
    step.compile(inputs, targets)
    return step


@dataclass
class Slot:
    """Where a parameter and its moments lie in their segment: from which element, with which axes."""

    tensor: Tensor
    offset: int
    order: tuple[int, ...]
    moments: dict[str, Tensor] = field(default_factory=dict)

    def view(self, flat: np.ndarray) -> np.ndarray:
        """The parameter's part of a segment's array, as the parameter has its axes."""
        shape = tuple(self.tensor.shape[a] for a in self.order)
        part = flat[self.offset : self.offset + self.tensor.size].reshape(shape)
        return part.transpose([self.order.index(a) for a in range(len(self.order))])


@dataclass(frozen=True)
class Segment:
    """Parameters of one group, type and age, which are updated as one flat array."""

    name: str
    group: int
    type: TensorType
    moments: tuple[str, ...]
    slots: dict[str, Slot]

    def scalar(self, name: str) -> str:
        """The input that holds a scalar of the update."""
        return f"{self.name}:{name}"

    def moment(self, name: str) -> str:
        """The state that holds a moment."""
        return f"{self.name}/{name}"


class FlatMemory(Memory):
    """Memory in which the parameters of each segment lie one after the other."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._places: dict[str, tuple[Segment, Slot]] = {}

    def lay_out(self, segment: Segment) -> None:
        """Moves the parameters into the array of their segment."""
        self._places.update({name: (segment, slot) for name, slot in segment.slots.items()})
        for name in (segment.name, *map(segment.moment, segment.moments)):
            self.store.ensure(name, segment.type)
        self.arrays[segment.name] = self.flat(segment.name)
        for name, slot in segment.slots.items():
            self._settle(name, slot.tensor)

    def flat(self, name: str) -> np.ndarray:
        """The array of a segment or of one of its moments."""
        array: np.ndarray = self.store.states[name].view(self.store.types[name])
        return array

    def value(self, name: str) -> Value:
        if name not in self._places:
            return super().value(name)
        segment, slot = self._places[name]
        part = state_value(segment.name, segment.type)
        if slot.tensor.size != segment.type.size:
            part = slice_(part, (slot.offset,), (slot.tensor.size,))
        laid = reshape(part, [slot.tensor.shape[a] for a in slot.order])
        value: Value = transpose(laid, [slot.order.index(a) for a in range(len(slot.order))])
        return value

    def _settle(self, name: str, tensor: Tensor) -> bool:
        if name not in self._places:
            return super()._settle(name, tensor)
        segment, slot = self._places[name]
        home, flat = self.homes[name], self.flat(segment.name)
        if tensor is not home.tensor or np.may_share_memory(tensor.data, flat):
            return True  # another one, or the numbers of one beside it, which a copy would overwrite
        view = slot.view(flat)
        np.copyto(view, tensor.data)
        tensor.data = home.array = view
        return False


@dataclass(frozen=True)
class Recorded:
    """The symbolic step: the loss, and the gradient of each parameter that has one, by the state's name."""

    recording: Recording
    inputs: tuple[Value, ...]
    loss: Value
    gradients: dict[str, Value]


class TracedStep:
    """What `trace_step` gives.  ``skipped`` counts the steps whose loss was not finite."""

    def __init__(
        self,
        module: Callable[..., Any],
        criterion: Callable[..., Any],
        optimizer: Any,
        backend: str = "auto",
        clip_norm: float | None = None,
    ) -> None:
        if not hasattr(optimizer, "rule"):
            raise CortexError(
                f"trace_step: {type(optimizer).__name__} does not update each number by itself; use an "
                f"optimiser that does (SGD, Adam, ...), or the eager loop"
            )
        self.module, self.criterion, self.optimizer = module, criterion, optimizer
        self.modules = [*modules_of(module), *modules_of(criterion)]
        self.backend, self.clip_norm = get(backend), clip_norm
        expect_host(self.backend, "trace_step")
        self.skipped = 0
        self._programs = Programs()
        self._segments: list[Segment] = []
        self._settings: Any = None
        self._rules: list[Any] = []
        self._options_vary = (
            False  # then they are operands of the update; until then literals, which is faster
        )
        self._memory = FlatMemory(self.backend.devices()[0])

    def compile(self, inputs: Any, targets: Any) -> Program:
        """The program for arguments like these, made where it is new."""
        arrays, structure = flatten((inputs, targets))
        return self._entry([as_array(x) for x in arrays], structure).program

    def __call__(self, inputs: Any, targets: Any) -> Result:
        arrays, structure = flatten((inputs, targets))
        given = [as_array(x) for x in arrays]
        entry = self._entry(given, structure)
        program, skipped = entry.program, entry.program.skipped
        steps = self._set_scalars(program)
        loss = program.run(entry.inputs(given))["loss"]
        self._memory.note_changes(program)
        if program.skipped == skipped:
            self._count(steps)
        self.skipped += program.skipped - skipped
        return loss

    def _entry(self, arrays: Sequence[np.ndarray], structure: Any) -> Entry:
        self._expect_no_hooks()
        rules = [self.optimizer.rule(group) for group in self.optimizer.param_groups]
        self._options_vary |= bool(self._rules) and rules != self._rules
        self._rules = rules
        if self._follow():
            self._lay_out(arrays, structure)
        formulas = tuple([rule.primitive for rule in rules] if self._options_vary else rules)
        make = partial(self._make, arrays, structure)
        entry: Entry = self._programs.find(arrays, structure, (formulas, *modes(self.modules)), make)
        return entry

    def _expect_no_hooks(self) -> None:
        """Refuses what eager code would be told of gradients: a program cannot call it."""
        hooked = any(p.has_hooks for group in self.optimizer.param_groups for p in group["params"])
        if hooked or any(m._backward_hooks for top in self.modules for m in top.modules()):
            raise CortexError(
                "trace_step: a program calls no hooks on gradients; remove them, or train eagerly"
            )

    # What lies where.

    def _follow(self) -> bool:
        """Takes over what eager code has put in the place of parameters and moments; whether the segments
        must be laid out anew.
        """
        groups = self.optimizer.param_groups
        learnt = tuple([tuple([p.requires_grad for p in group["params"]]) for group in groups])
        settings = learnt, [rule.moments for rule in self._rules]
        if settings != self._settings or self._memory.follow():
            self._settings = settings
            return True
        for segment in self._segments:
            counts = set()
            for slot in segment.slots.values():
                kept = self.optimizer.state[slot.tensor]
                counts.add(self._counts(segment.group, kept))
                for name, moment in slot.moments.items():
                    if kept.get(name) is not moment:
                        self._take_moment(segment, slot, name)
            if len(counts) > 1:
                return True
        return False

    def _counts(self, group: int, state: Mapping[str, Any]) -> tuple[float, ...]:
        """What is alike in the states of a segment's parameters."""
        return tuple(self.optimizer.counted(self._rules[group], state).values())

    def _lay_out(self, arrays: Sequence[np.ndarray], structure: Any) -> None:
        """Makes the segments: one trace tells which parameters have gradients, and how they are best laid."""
        self._programs.clear()
        self._memory = FlatMemory(self.backend.devices()[0])
        recorded = self._record(arrays, structure)
        orders = _orders(recorded, self._memory)
        self._segments = list(self._cut(recorded.gradients, orders))
        for segment in self._segments:
            self._memory.lay_out(segment)
            for slot in segment.slots.values():
                for name in segment.moments:
                    self._take_moment(segment, slot, name)

    def _cut(self, names: Mapping[str, Any], orders: Mapping[str, tuple[int, ...]]) -> Iterator[Segment]:
        memory, state = self._memory, self.optimizer.state
        number = {id(p): i for i, group in enumerate(self.optimizer.param_groups) for p in group["params"]}
        found: dict[tuple[int, DType, tuple[float, ...]], list[str]] = {}
        # Those that would leave their followers off a cache line come last.
        for name in sorted(names, key=lambda n: memory.homes[n].tensor.size % LINE != 0):
            p = memory.homes[name].tensor
            group = number[id(p)]
            found.setdefault((group, p.dtype, self._counts(group, state[p])), []).append(name)
        for (group, dtype, counts), members in found.items():
            slots, offset = {}, 0
            for name in members:
                slots[name] = Slot(memory.homes[name].tensor, offset, orders[name])
                offset += slots[name].tensor.size
            name, type = ".".join(map(str, (f"group{group}", dtype, *counts))), TensorType((offset,), dtype)
            yield Segment(name, group, type, self._rules[group].moments, slots)

    def _take_moment(self, segment: Segment, slot: Slot, name: str) -> None:
        """Moves a moment from the optimiser's state, where it may be missing, into the segment."""
        kept = self.optimizer.state_of(slot.tensor, self._rules[segment.group])
        view = slot.view(self._memory.flat(segment.moment(name)))
        view[...] = kept[name].numpy()
        kept[name] = slot.moments[name] = Tensor(view)

    # The program.

    def _record(self, arrays: Sequence[np.ndarray], structure: Any) -> Recorded:
        values = tuple(input_value(f"{i}", type_of(a)) for i, a in enumerate(arrays))
        recording = Recording(self._memory)
        loss = recording.call(self._loss, self.modules, unflatten(structure, values))
        if not isinstance(loss, Value) or loss.type.size != 1:
            told = f"gave {loss.type}" if isinstance(loss, Value) else f"gave a {type(loss).__name__}"
            raise ShapeError(f"trace_step: the criterion {told}, expected one number")
        loss = reshape(loss, ())
        owned = {id(p) for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad}
        homes = self._memory.homes
        wanted = {n: v for n, v in recording.values.items() if id(homes[n].tensor) in owned}
        seed = constant(np.ones((), loss.dtype.storage))
        gradients = differentiate([loss], [seed], list(wanted.values()))
        found = {n: g for n, g in zip(wanted, gradients) if g is not None}
        if not found:
            raise CortexError("trace_step: the loss depends on no parameter of the optimiser that is learnt")
        return Recorded(recording, values, loss, found)

    def _loss(self, inputs: Any, targets: Any) -> Any:
        out = self.module(*inputs) if isinstance(inputs, tuple) else self.module(inputs)
        return self.criterion(out, targets)

    def _make(self, arrays: Sequence[np.ndarray], structure: Any) -> Entry:
        recorded = self._record(arrays, structure)
        members = {name for segment in self._segments for name in segment.slots}
        if members != set(recorded.gradients):
            names = ", ".join(sorted(members ^ set(recorded.gradients)))
            raise CortexError(
                f"trace_step: for these shapes other parameters have gradients ({names}); make a step of "
                f"its own with trace_step"
            )
        flat = [self._gradient(segment, recorded.gradients) for segment in self._segments]
        scale, norm = self._clip(flat)
        updates: list[Update] = list(recorded.recording.updates)
        scalars: list[Value] = []
        for segment, g in zip(self._segments, flat):
            scaled = g if scale is None else g * _as(scale, g.dtype)
            made, read = _update(segment, self._rules[segment.group], scaled, self._options_vary)
            updates += made
            scalars += read
        drawn = recorded.recording.draws.key
        total = recorded.loss if norm is None else _as(norm, recorded.loss.dtype) + recorded.loss
        graph = Graph(
            (*recorded.inputs, *scalars, *([] if drawn is None else [drawn])),
            {"loss": recorded.loss},
            tuple(updates),
            predicate=isfinite(total),
        )
        graph, orders = turn_inputs(graph)
        program = Program(compile_graph(graph, self.backend), self.backend, self._memory.store)
        return Entry(program, orders, drawn is not None)

    def _gradient(self, segment: Segment, gradients: Mapping[str, Value]) -> Value:
        """The gradient of a segment, laid as the parameters are."""
        parts = [
            reshape(transpose(gradients[name], slot.order), (slot.tensor.size,))
            for name, slot in segment.slots.items()
        ]
        flat: Value = concatenate(parts, 0) if len(parts) > 1 else parts[0]
        return flat

    def _clip(self, gradients: Sequence[Value]) -> tuple[Value | None, Value | None]:
        """The factor that brings the norm of all gradients down to ``clip_norm``, and the norm."""
        if self.clip_norm is None:
            return None, None
        widest = max((g.dtype for g in gradients), key=lambda t: t.itemsize)
        norm = sqrt(reduce(lambda a, b: a + b, [_as(total_of(g * g), widest) for g in gradients]))
        return minimum(divide(float(self.clip_norm), norm + 1e-6), 1.0), norm

    # What the host does beside it.

    def _set_scalars(self, program: Program) -> list[dict[str, Any]]:
        """Writes rates, options and the like; what the states of each segment count after the step."""
        counts = []
        for segment in self._segments:
            first = next(iter(segment.slots.values())).tensor
            rule = self._rules[segment.group]
            counts.append(self.optimizer.counted(rule, self.optimizer.state[first]))
            lr = float(self.optimizer.param_groups[segment.group]["lr"])
            for name, number in rule.scalars(counts[-1], lr).items():
                memory = program.inputs.get(segment.scalar(name))
                if memory is not None:
                    memory[...] = number
        return counts

    def _count(self, counts: Sequence[Mapping[str, Any]]) -> None:
        for segment, counted in zip(self._segments, counts):
            for slot in segment.slots.values():
                self.optimizer.state[slot.tensor].update(counted)

    def __repr__(self) -> str:
        name = type(self.optimizer).__name__
        return f"<a step of {name} on {self.backend.name}, {len(self._segments)} segments>"


def _update(segment: Segment, rule: Any, g: Value, options_vary: bool) -> tuple[list[Update], list[Value]]:
    """The new parameters and moments of a segment by one pointwise node, and the scalars that it reads."""
    states = [state_value(name, segment.type) for name in (segment.name, *map(segment.moment, rule.moments))]
    kind = TensorType((), segment.type.dtype)
    names = [*rule.names, *rule.constants] if options_vary else rule.names
    scalars = [input_value(segment.scalar(name), kind) for name in names]
    new = apply(rule.primitive if options_vary else rule.fixed, states[0], g, *states[1:], *scalars)
    results = new if isinstance(new, tuple) else (new,)
    return [Update(s, v) for s, v in zip(states, results)], scalars


def _as(x: Value, to: DType) -> Value:
    return x if x.dtype is to else cast(x, to)


def _orders(recorded: Recorded, memory: Memory) -> dict[str, tuple[int, ...]]:
    """How the axes of each parameter should lie: as all that read it would have them, else as they do."""
    wanted = wanted_orders(Graph(recorded.inputs, {"loss": recorded.loss, **recorded.gradients}))
    orders = {}
    for name in recorded.gradients:
        lies = memory.homes[name].order
        orders[name] = tuple(lies[a] for a in wanted.get(State(name), range(len(lies))))
    return orders
