"""The one place that decides about memory.

Each kernel result gets a slot.  A slot may be hosted in another: a new state in the state's memory, a part in
its concatenation, a result in an operand that dies here; claims are made in this order.  Hosted slots live as
one.  Slots that are not hosted in a state get an offset in the arena, so that slots alive at one time do not
overlap.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_compute.errors import BackendError
from cortex_compute.primitives.base import OPAQUE
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.indexing import Concatenate
from cortex_compute.primitives.views import Reshape
from cortex_compute.protocol import Backend, Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType, contiguous_strides
from cortex_core.graph.plan import ARENA, KEPT, Instruction, Location, Plan
from cortex_core.graph.schedule import Schedule, schedules, storage_root
from cortex_core.graph.value import Constant, Graph, Input, State, Value, is_leaf
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import key

ALIGNMENT = 64
END = 1 << 60
Key = tuple[int, int]


def make_plan(graph: Graph, backend: Backend, pooling: bool = True) -> Plan:
    """The smaller of the plans for the candidate schedules.

    ``pooling=False`` gives each value memory of its own and writes nothing in place: the plan to compare
    with.
    """
    graph = materialize(graph)
    planners = [Planner(graph, backend, s, pooling) for s in schedules(graph)]
    for planner in planners:
        planner.lay_out()
    return min(planners, key=lambda p: p.arena).emit()


def materialize(graph: Graph) -> Graph:
    """Copies where a view cannot look into its operand's memory, or an update's value has no kernel."""
    from cortex_core.graph.simplify import rewrite

    strides: dict[Key, tuple[int, ...]] = {}

    def rule(node: Node, inputs: list[Value]) -> Any:
        if is_leaf(node) or not node.primitive.view:
            return None
        (x,) = inputs
        have = strides.get(key(x), contiguous_strides(x.shape))
        placed = node.primitive.restride(x.shape, have)
        if placed is None:
            x = Value(Node(Value, Copy(), [x], (x.type,), node.place))
            placed = node.primitive.restride(x.shape, contiguous_strides(x.shape))
            assert placed is not None
        made = Value(Node(Value, node.primitive, [x], node.types, node.place))
        strides[key(made)] = placed[1]
        return [made]

    graph = _keep_old_states(rewrite(graph, rule))
    taken: set[Key] = set()
    updates = []
    for u in graph.updates:
        root = storage_root(u.value)
        if is_leaf(root.node) or key(root) in taken:
            u = replace(u, value=Value(Node(Value, Copy(), [u.value], (u.value.type,))))
        taken.add(key(storage_root(u.value)))
        updates.append(u)
    return replace(graph, updates=tuple(updates))


def _keep_old_states(graph: Graph) -> Graph:
    """Copies of states that an output or the predicate shows, which are read when the new ones are there."""
    changing = {u.state.node.primitive for u in graph.updates}

    def kept(x: Value) -> Value:
        changes = storage_root(x).node.primitive in changing
        return Value(Node(Value, Copy(), [x], (x.type,))) if changes else x

    outputs = {name: kept(x) for name, x in graph.outputs.items()}
    return replace(
        graph, outputs=outputs, predicate=None if graph.predicate is None else kept(graph.predicate)
    )


class Slot:
    """Memory for one kernel result, or for what is hosted in it.  ``shift`` is its byte in the host."""

    __slots__ = ("end", "home", "host", "nbytes", "offset", "shift", "start")

    def __init__(self, nbytes: int, start: int, end: int, home: str = ARENA) -> None:
        self.nbytes, self.start, self.end, self.home = nbytes, start, end, home
        self.host: Slot | None = None
        self.shift = 0
        self.offset = 0

    def root(self) -> tuple[Slot, int]:
        """The slot that hosts it in the end, and its byte there."""
        slot, shift = self, 0
        while slot.host is not None:
            shift += slot.shift
            slot = slot.host
        return slot, shift

    def move_into(self, host: Slot, shift: int) -> None:
        """Hosts this slot; the host lives as long as both."""
        self.host, self.shift = host, shift
        top, _ = host.root()
        top.start, top.end = min(top.start, self.start), max(top.end, self.end)


class Planner:
    """Lays out one schedule."""

    def __init__(self, graph: Graph, backend: Backend, schedule: Schedule, pooling: bool) -> None:
        self.graph, self.backend, self.pooling, self.schedule = graph, backend, pooling, schedule
        self.nodes = [n for n in schedule.order if not n.primitive.view]
        self.time = {n: t for t, n in enumerate(self.nodes)}
        self.tail = sum(not n.primitive.view for n in schedule.order[: schedule.tail])
        self.offers: dict[Node, Offer] = {}
        self.last: dict[Key, int] = {}  # storage root -> when it is read last
        self.slots: dict[Key, Slot] = {}
        self.copies: list[tuple[Value, str, bool]] = []
        self.constants: dict[str, Any] = {}
        self.prologue = sum(n in schedule.prologue for n in self.nodes)
        self.arena = self.kept = 0
        self.workspaces: dict[Node, Slot] = {}

    def plan(self) -> Plan:
        """Both stages."""
        self.lay_out()
        return self.emit()

    def lay_out(self) -> None:
        """Decides where everything lies; ``arena`` is then known."""
        for node in self.nodes:
            self.offers[node] = self._offer(node)
        self._last_reads()
        self._make_slots()
        self._keep_prologue()
        self._host_states()
        self._host_parts()
        if self.pooling:
            self._reuse_operands()
        self.arena, self.workspaces = self._place()

    # What the backend says, for operands as they lie.

    def _offer(self, node: Node) -> Offer:
        if isinstance(node.primitive, Concatenate):
            return COPIES
        operands = tuple(Operand(x.type, self._layout(x)) for x in node.inputs)
        offer = self.backend.offer(node.primitive, operands)
        if isinstance(offer, Refusal):
            raise BackendError(f"{node.place or ''} {node.primitive}: {offer.reason}".strip())
        return offer

    def _layout(self, x: Value) -> Layout:
        """How an operand lies; a residual as the offer of the forward that keeps it says."""
        if x.type is OPAQUE:
            return self.offers[x.node].residual_layout
        return opaque_layout(x) or Layout(self._strides(x))

    def _strides(self, x: Value) -> tuple[int, ...] | None:
        """Strides of a view in elements; None: row-major."""
        strides = self._view(x)[1]
        return None if row_major(x.shape, strides) else strides

    def _view(self, x: Value) -> tuple[int, tuple[int, ...]]:
        """Offset and strides, in elements, of ``x`` inside its storage root."""
        if not x.node.primitive.view:
            return 0, contiguous_strides(x.shape)
        base = x.node.inputs[0]
        offset, strides = self._view(base)
        placed = x.node.primitive.restride(base.shape, strides)
        assert placed is not None, "materialize has put a copy here"
        return offset + placed[0], placed[1]

    # Lives.

    def _last_reads(self) -> None:
        for t, node in enumerate(self.nodes):
            reads = self.offers[node].reads
            for i, x in enumerate(node.inputs):
                if reads is None or i in reads:
                    k = key(storage_root(x))
                    self.last[k] = max(self.last.get(k, 0), t)
        predicate = [] if self.graph.predicate is None else [self.graph.predicate]
        for root in [*self.graph.outputs.values(), *predicate]:
            self.last[key(storage_root(root))] = END
        for update in self.graph.updates:  # the new state is read at the end, wherever it lies until then
            self.last[key(storage_root(update.value))] = END

    def _make_slots(self) -> None:
        for t, node in enumerate(self.nodes):
            for i, type in enumerate(node.types):
                layout = opaque_layout(Value(node, i))
                nbytes = layout.nbytes if layout else type.nbytes
                nbytes = self.offers[node].residual if type is OPAQUE else nbytes
                end = self.last.get((id(node), i), t)
                self.slots[id(node), i] = Slot(nbytes, t, end)

    def _keep_prologue(self) -> None:
        """What later instructions, or the caller, read of the prologue lies in memory of its own."""
        outside = [x for n in self.nodes if n not in self.schedule.prologue for x in n.inputs]
        for k in {key(storage_root(x)) for x in [*outside, *self.graph.roots]}:
            slot = self.slots.get(k)
            if slot is not None and slot.start < self.prologue:
                slot.move_into(Slot(slot.nbytes, 0, END, KEPT), 0)
                slot.root()[0].offset, self.kept = self.kept, self.kept + aligned(slot.nbytes)

    # Claims.

    def _host_states(self) -> None:
        outputs = {key(storage_root(x)) for x in self.graph.outputs.values()}
        for update in self.graph.updates:
            name = update.state.node.primitive.name
            root = storage_root(update.value)
            slot = self.slots[key(root)]
            node = root.node
            direct = (
                self.pooling
                and name in self.schedule.direct
                and whole(update.value, root)
                and key(root) not in outputs
                and (not update.guarded or self.time[node] >= self.tail or self.graph.predicate is None)
                and all(self._covers(node, i, root.index, name) for i in range(len(node.inputs)))
            )
            if direct:
                slot.move_into(Slot(slot.nbytes, 0, END, f"state:{name}"), 0)
            else:
                self.copies.append((update.value, name, update.guarded))

    def _covers(self, node: Node, operand: int, output: int, name: str) -> bool:
        """Whether an operand that lies in the state ``name`` may be overwritten by the output there."""
        x = node.inputs[operand]
        root = storage_root(x)
        if not isinstance(root.node.primitive, State) or root.node.primitive.name != name:
            return True
        reads = self.offers[node].reads
        if reads is not None and operand not in reads:
            return True
        return (operand, output) in self.offers[node].reuse and whole(x, root)

    def _host_parts(self) -> None:
        """The parts of a concatenation that lie in it as one piece are computed there."""
        outputs = {key(storage_root(x)) for x in self.graph.outputs.values()}
        for node in self.nodes:
            p = node.primitive
            if not isinstance(p, Concatenate) or math.prod(node.types[0].shape[: p.axis]) != 1:
                continue
            whole_slot = self.slots[id(node), 0]
            shift = 0
            uses = Counter(key(storage_root(x)) for x in node.inputs)
            for x in node.inputs:
                root = storage_root(x)
                slot = self.slots.get(key(root))
                if (
                    self.pooling and slot is not None and slot.host is None and uses[key(root)] == 1
                    and whole(x, root) and key(root) not in outputs
                    and not isinstance(root.node.primitive, Concatenate)
                    and self._free_to_host(slot, whole_slot, node)
                ):  # fmt: skip
                    slot.move_into(whole_slot, shift)
                shift += x.type.nbytes

    def _free_to_host(self, slot: Slot, host: Slot, node: Node) -> bool:
        """A state's memory may take a part only after the last reader of the old state has run."""
        top, _ = host.root()
        if top.home == ARENA:
            return True
        name = top.home.removeprefix("state:")
        readers = [
            self.time[n] for n in self.nodes for y in n.inputs
            if isinstance(storage_root(y).node.primitive, State)
            and storage_root(y).node.primitive.name == name
        ]  # fmt: skip
        guarded = self.graph.predicate is None or slot.start >= self.tail
        return guarded and all(t < slot.start for t in readers)

    def _reuse_operands(self) -> None:
        for t, node in enumerate(self.nodes):
            taken: set[int] = set()
            for i, o in self.offers[node].reuse:
                if i >= len(node.inputs) or (id(node), o) not in self.slots:
                    continue
                slot, x = self.slots[id(node), o], node.inputs[i]
                own = self.slots.get(key(storage_root(x)))
                if slot.host is not None or own is None or not whole(x, storage_root(x)):
                    continue
                top, shift = own.root()
                others = (self.slots.get(key(storage_root(y))) for j, y in enumerate(node.inputs) if j != i)
                clash = any(
                    s is not None and s.root()[0] is top and not self._same_reuse(node, j, i, o)
                    for j, s in zip((j for j in range(len(node.inputs)) if j != i), others)
                )
                if (
                    top.home == ARENA and top.end == t and top.nbytes == slot.nbytes and shift == 0
                    and id(top) not in taken and not clash
                ):  # fmt: skip
                    taken.add(id(top))
                    slot.move_into(top, 0)

    def _same_reuse(self, node: Node, j: int, i: int, o: int) -> bool:
        """Whether operand ``j``, which lies where operand ``i`` does, may be overwritten by output ``o`` as
        well.
        """
        reads = self.offers[node].reads
        if reads is not None and j not in reads:
            return True
        x, y = node.inputs[j], node.inputs[i]
        return (j, o) in self.offers[node].reuse and x.type == y.type and whole(x, storage_root(x))

    # Offsets.

    def _place(self) -> tuple[int, dict[Node, Slot]]:
        workspaces = {
            n: Slot(self.offers[n].workspace, t, t)
            for t, n in enumerate(self.nodes)
            if self.offers[n].workspace
        }
        tops = {id(s): s for s in [*(s.root()[0] for s in self.slots.values()), *workspaces.values()]}
        arena = [s for s in tops.values() if s.home == ARENA and s.nbytes]
        if not self.pooling:
            offset = 0
            for s in arena:
                s.offset, offset = offset, offset + aligned(s.nbytes)
            return offset, workspaces
        return place(arena), workspaces

    # The result.

    def location(self, x: Value) -> Location:
        """Where a value lies."""
        root = storage_root(x)
        shift, strides = self._view(x)
        layout = None if row_major(x.shape, strides) else strides
        p = root.node.primitive
        offset = shift * x.dtype.itemsize
        if isinstance(p, (Input, State)):
            home = "input" if isinstance(p, Input) else "state"
            return Location(f"{home}:{p.name}", offset, x.type, layout)
        if isinstance(p, Constant):
            name = self._constant(p)
            return Location(name, offset, x.type, layout)
        slot, moved = self.slots[key(root)].root()
        bare = x.type is OPAQUE or opaque_layout(x) is not None
        type = TensorType((slot.nbytes,), OPAQUE.dtype) if bare else x.type
        return Location(slot.home, slot.offset + moved + offset, type, layout)

    def _constant(self, p: Constant) -> str:
        for name, array in self.constants.items():
            if array is p.array:
                return name
        name = f"constant:{len(self.constants)}"
        self.constants[name] = p.array
        return name

    def emit(self) -> Plan:
        """The instructions over the memory that `lay_out` has decided."""
        instructions: list[Instruction] = []
        tail = prologue = 0
        for t, node in enumerate(self.nodes):
            if t == self.prologue:
                prologue = len(instructions)
            if t == self.tail:
                tail = len(instructions)
            guarded = t >= self.tail and self.graph.predicate is not None
            if isinstance(node.primitive, Concatenate):
                instructions += self._parts(node, guarded)
                continue
            offer = self.offers[node]
            inputs = tuple(
                self.location(x) if offer.reads is None or i in offer.reads else None
                for i, x in enumerate(node.inputs)
            )
            outputs = tuple(self.location(Value(node, i)) for i in range(len(node.types)))
            space = self.workspaces.get(node)
            scratch = None
            if space is not None:
                scratch = Location(ARENA, space.offset, TensorType((space.nbytes,), OPAQUE.dtype))
            types = tuple(x.type for x in node.inputs)
            instructions.append(
                Instruction(node.primitive, offer, inputs, outputs, scratch, node.place, guarded, types)
            )
        if self.tail >= len(self.nodes):
            tail = len(instructions)
        if self.prologue >= len(self.nodes):
            prologue = len(instructions)
        return self._finish(instructions, prologue, tail)

    def _finish(self, instructions: list[Instruction], prologue: int, tail: int) -> Plan:
        """Adds the copies into states, whose old values nobody reads any more; guarded ones end the tail."""
        graph = self.graph
        unguarded: list[Instruction] = []
        for value, name, guarded in self.copies:
            guarded = guarded and graph.predicate is not None
            target = Location(f"state:{name}", 0, value.type)
            (instructions if guarded else unguarded).append(self._copy(value, target, guarded))
        predicate = None if graph.predicate is None else self.location(graph.predicate)
        return Plan(
            (*instructions, *unguarded),
            tail,
            len(instructions),
            {v.node.primitive.name: self.location(v) for v in graph.inputs},
            {name: self.location(v) for name, v in graph.outputs.items()},
            {name: v.type for name, v in graph.states().items()},
            predicate,
            self.constants,
            self.arena,
            max((s.nbytes for s in self.workspaces.values()), default=0),
            prologue,
            self.kept,
        )

    def _parts(self, node: Node, guarded: bool) -> list[Instruction]:
        """Copies for the parts of a concatenation that are not computed in their place."""
        p, (type,) = node.primitive, node.types
        whole_location = self.location(Value(node))
        strides = contiguous_strides(type.shape)
        made, start = [], 0
        for x in node.inputs:
            offset = whole_location.offset + start * strides[p.axis] * type.dtype.itemsize
            layout = None if row_major(x.shape, strides) else strides
            target = Location(whole_location.buffer, offset, x.type, layout)
            start += x.shape[p.axis]
            if self.location(x) != target and x.type.size:
                made.append(self._copy(x, target, guarded, node.place))
        return made

    def _copy(self, x: Value, target: Location, guarded: bool, place: Any = None) -> Instruction:
        offer = self.backend.offer(Copy(), (Operand(x.type, Layout(self._strides(x))),))
        if isinstance(offer, Refusal):
            raise BackendError(f"Copy: {offer.reason}")
        return Instruction(Copy(), offer, (self.location(x),), (target,), None, place, guarded, (x.type,))


COPIES = Offer(build=lambda: None, implementation="parts")  # type: ignore[arg-type,return-value]


def opaque_layout(x: Value) -> Layout | None:
    """The layout of a copy that only the backend reads."""
    p = x.node.primitive
    return p.layout if isinstance(p, Copy) and p.layout.key else None


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to the alignment of slots."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether these strides (in elements) are those of a row-major array; axes of size 1 do not count."""
    expected = 1
    for n, s in zip(reversed(shape), reversed(strides)):
        if n != 1:
            if s != expected:
                return 0 in shape
            expected *= n
    return True


def whole(x: Value, root: Value) -> bool:
    """Whether ``x`` is its storage root, or only another shape of it."""
    while x.node is not root.node:
        if not isinstance(x.node.primitive, Reshape):
            return False
        x = x.node.inputs[0]
    return True


def place(slots: list[Slot]) -> int:
    """Gives each slot an offset so that no two that live at one time overlap; returns the bytes in all.

    Largest first, each at the lowest gap that fits (Pisarchyk and Lee, 2020, "greedy by size").
    """
    slots.sort(key=lambda s: (-s.nbytes, s.start))
    starts, ends, lows, highs = (np.zeros(len(slots), np.int64) for _ in range(4))
    total = 0
    for n, slot in enumerate(slots):
        alive = np.flatnonzero((starts[:n] <= slot.end) & (ends[:n] >= slot.start))
        alive = alive[np.argsort(lows[alive], kind="stable")]
        tops = np.maximum.accumulate(np.concatenate([[0], highs[alive]]))  # where each gap begins
        fits = np.flatnonzero(lows[alive] - tops[:-1] >= slot.nbytes)
        offset = int(tops[fits[0]] if fits.size else tops[-1])
        slot.offset = offset
        starts[n], ends[n] = slot.start, min(slot.end, END)
        lows[n], highs[n] = offset, offset + aligned(slot.nbytes)
        total = max(total, int(highs[n]))
    return total
