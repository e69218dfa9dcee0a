"""`trace`: eager code becomes a program.

The code is called once, with symbolic Values in the place of its arrays, and so are the parameters and
buffers of its modules, whose memory the program reads and writes.  What it does besides computing (printing,
counting calls) happens during that call alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.backends import get
from cortex_compute.errors import DTypeError, GradientError
from cortex_compute.types import TensorType, dtype
from cortex_core.graph.order import turn_inputs
from cortex_core.graph.value import Graph, input_value
from cortex_core.machine import expect_host, machine
from cortex_core.modes import MODE
from cortex_core.nn.module import Module
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.program import Program, compile_graph
from cortex_core.recording import KEY, Memory, Recording, fresh_key, modules_of
from cortex_core.tensor import Tensor
from cortex_core.tree import flatten, unflatten

KEPT = 8  # programs: one for each shape, mode and number among the arguments


def trace(module_or_function: Callable[..., Any], *examples: Any, backend: str = "auto") -> Traced:
    """A program that computes what ``module_or_function(*examples)`` computes, compiled for ``backend``.

    ``examples`` are Tensors or arrays, or tuples, lists and dicts of them; only their shapes and dtypes
    matter.  Anything else (a Python number) becomes part of the program, and another one makes another
    program; so do other shapes and another mode (``train()``, ``eval()``), each when it is first met.

    The parameters and buffers of a module, and of the modules that a function uses as its own or as a global
    name, are the memory of the Tensors themselves: what an optimiser, ``load_state_dict`` or an assignment
    does to them, the program sees, and in training mode it updates the buffers.  So are other Tensors that
    require gradients.  Those that require none become constants.  Each call draws new random numbers, and
    `manual_seed` determines them.

    ``x += y`` and its like only bind a name anew, as no number is there to be changed: what shares memory
    with x in eager code does not follow.

    What a program gives cannot be differentiated: `GradientError` says so where a `backward` would go through
    it.  Raises `TypeError` where the code looks at numbers, which a program computes only later.
    """
    traced = Traced(module_or_function, backend)
    traced.compile(*examples)
    return traced


class Called:
    """What stands in the node of a program's results: nothing flows back through them."""

    view = False
    residual = False
    name = "program"

    def __str__(self) -> str:
        return "a program of cortex.trace"


@gradient_of(Called)
def _nothing_flows(node: Node, *gs: Any) -> Any:
    raise GradientError(
        "a program of cortex.trace gives no gradients: differentiate the code itself, train with "
        "cortex.trace_step, or call the program under no_grad() or on detach()"
    )


def _computed(traced: Traced, arrays: Sequence[np.ndarray], arguments: Sequence[Tensor]) -> list[Tensor]:
    """The results as Tensors, which remember that they depend on what requires gradients."""
    learnt = [x for x in (*arguments, *traced.memory.tensors()) if x.requires_grad]
    if not (learnt and MODE.get().recording):
        return [Tensor(a) for a in arrays]
    types = tuple(map(type_of, arrays))
    node = Node(Tensor, Called(), learnt, types, None, tuple(arrays))
    return [
        Tensor._of(a, t, node if t.dtype.kind == "float" else None, i, machine())
        for i, (a, t) in enumerate(zip(arrays, types))
    ]


class Programs:
    """The last eight programs of some code: one for each shape, mode and number among the arguments."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._dtypes: dict[Any, tuple[np.dtype[Any], ...]] = {}

    def find(self, arrays: Sequence[np.ndarray], structure: Any, mode: Any, make: Callable[[], Any]) -> Any:
        """The one for these arguments; where it is new, what ``make()`` gives."""
        k = (structure, mode, tuple([(a.shape, a.dtype) for a in arrays]))
        try:
            found = self._kept.get(k)
        except TypeError as error:
            raise TypeError(
                f"an argument that is no array is part of the program, by which it is found again: {error}"
            ) from None
        if found is None:
            self._check(arrays, structure)
            found = self._kept[k] = make()
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(k)
        return found

    def clear(self) -> None:
        """Forgets them all."""
        self._kept.clear()

    def _check(self, arrays: Sequence[np.ndarray], structure: Any) -> None:
        given = tuple(a.dtype for a in arrays)
        traced = self._dtypes.setdefault(structure, given)
        for i, (new, old) in enumerate(zip(given, traced)):
            if new != old:
                raise DTypeError(
                    f"array {i} of the arguments was {old} when this program was traced, now it is {new}: "
                    f"convert it, or trace again"
                )


@dataclass(frozen=True)
class Entry:
    """A program, the order of axes in which it takes its arrays where that is another, whether it draws
    random numbers, and the structure of what it gives.
    """

    program: Program
    orders: Mapping[str, tuple[int, ...]]
    draws: bool
    structure: Any = None

    def inputs(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays by the names of the program's inputs, and a new key."""
        fed = {f"{i}": x for i, x in enumerate(arrays)}
        for name, order in self.orders.items():
            fed[name] = fed[name].transpose(order)
        return {**fed, KEY: fresh_key()} if self.draws else fed


class Traced:
    """What `trace` gives: it is called as the code that it was made of, and gives Tensors."""

    def __init__(self, f: Callable[..., Any], backend: str = "auto") -> None:
        self.f = f
        self.modules = modules_of(f)
        self.backend = get(backend)
        expect_host(self.backend, "trace")
        self.memory = Memory(self.backend.devices()[0])
        self._programs = Programs()

    def compile(self, *args: Any) -> Entry:
        """The program for arguments like these, made where it is new."""
        arrays, structure = flatten(args)
        return self._entry([as_array(x) for x in arrays], structure)

    def __call__(self, *args: Any) -> Any:
        arrays, structure = flatten(args)
        given = [as_array(x) for x in arrays]
        entry = self._entry(given, structure)
        results = entry.program.run(entry.inputs(given))
        self.memory.note_changes(entry.program)
        arguments = [x for x in arrays if isinstance(x, Tensor)]
        made = _computed(self, [r.numpy() for r in results.values()], arguments)
        return unflatten(entry.structure, made)

    def _entry(self, arrays: Sequence[np.ndarray], structure: Any) -> Entry:
        if self.memory.follow():
            self._programs.clear()
        make = partial(self._make, arrays, structure)
        entry: Entry = self._programs.find(arrays, structure, modes(self.modules), make)
        return entry

    def _make(self, arrays: Sequence[np.ndarray], structure: Any) -> Entry:
        values = [input_value(f"{i}", type_of(a)) for i, a in enumerate(arrays)]
        recording = Recording(self.memory)
        out = recording.call(self.f, self.modules, unflatten(structure, values))
        found, shape = flatten(out)
        drawn = recording.draws.key
        graph = Graph(
            tuple(values) if drawn is None else (*values, drawn),
            {f"{i}": y for i, y in enumerate(found)},
            tuple(recording.updates),
        )
        graph, orders = turn_inputs(graph)
        program = Program(compile_graph(graph, self.backend), self.backend, self.memory.store)
        return Entry(program, orders, drawn is not None, shape)

    def __repr__(self) -> str:
        return f"<program of {self.f!r:.80} on {self.backend.name}>"


def modes(modules: Sequence[Module]) -> tuple[tuple[Any, ...], ...]:
    """The modules and those inside them, which are training, and how many tensors each holds."""
    return tuple(
        (m, m.training, _held(m._parameters), _held(m._buffers)) for top in modules for m in top.modules()
    )


def _held(holder: Mapping[str, Any]) -> int:
    return sum([x is not None for x in holder.values()])


def as_array(x: Any) -> np.ndarray:
    """The numbers of a Tensor or an array."""
    if isinstance(x, Tensor):
        return x.numpy()
    if isinstance(x, Array):
        raise TypeError("a program takes numbers; inside another trace call the code itself")
    return x  # type: ignore[no-any-return]


def type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.shape, dtype(array.dtype))
