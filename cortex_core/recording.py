"""Eager code over symbolic values: what a call reads of modules, what it assigns, and what it draws.

`Memory` makes Tensors the states of programs; `Recording` is one call of the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.protocol import Device
from cortex_compute.types import TensorType, uint64
from cortex_core import changes, generator
from cortex_core.graph.value import Update, Value, input_value, lifting, state_value
from cortex_core.machine import dense_order
from cortex_core.modes import enable_grad
from cortex_core.nn.module import Module
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import ancestors, key, topological
from cortex_core.ops.views import transpose
from cortex_core.program import Program
from cortex_core.store import Store
from cortex_core.tensor import Tensor
from cortex_core.tree import map_arrays

KEY = "random_key"
KEY_TYPE = TensorType((2,), uint64)


@dataclass
class Home:
    """A Tensor whose memory is a state, and how its axes lie there."""

    tensor: Tensor
    array: np.ndarray
    order: tuple[int, ...]
    places: list[tuple[dict[str, Any], str]]  # the dicts of modules in which it stands, under which name


class Memory:
    """Tensors as the states of programs.  A state is the very memory of a Tensor, its axes in the order in
    which they lie there.
    """

    def __init__(self, device: Device) -> None:
        self.store = Store(device)
        self.homes: dict[str, Home] = {}
        self.arrays: dict[str, np.ndarray] = {}  # of the states that Tensors show
        self._names: dict[int, str] = {}  # of the Tensors in ``homes``
        self._others: dict[str, Tensor] = {}  # Tensors of no module

    def admit(self, name: str, holder: dict[str, Any], attribute: str) -> str:
        """The name of the state of the Tensor ``holder[attribute]``: ``name``, unless it has one."""
        tensor = holder[attribute]
        if id(tensor) not in self._names:
            while name in self.homes:  # of a module that has been replaced by this one
                name += "'"
            self.homes[name] = Home(tensor, tensor.data, (), [])
            self._settle(name, tensor)
        name = self._names[id(tensor)]
        places = self.homes[name].places
        if not any(h is holder and a == attribute for h, a in places):
            places.append((holder, attribute))
        return name

    def admit_other(self, tensor: Tensor) -> str:
        """The name of the state of a Tensor that belongs to no module."""
        name = f"tensor{len(self._others)}"
        if id(tensor) not in self._names:
            self._others[name] = tensor
        return self._names.get(id(tensor)) or self.admit(name, self._others, name)

    def tensors(self) -> list[Tensor]:
        """The Tensors whose memory the states are."""
        return [home.tensor for home in self.homes.values()]

    def value(self, name: str) -> Value:
        """The Tensor of a state."""
        order = self.homes[name].order
        value: Value = transpose(self._leaf(name), [order.index(a) for a in range(len(order))])
        return value

    def update(self, name: str, new: Any) -> Update:
        """The Tensor of a state becomes ``new``."""
        value = new if isinstance(new, Value) else Value.lift(new)
        if value.shape != self.homes[name].tensor.shape:
            was = self.homes[name].tensor.shape
            raise ShapeError(f"buffer {name} of shape {was} was assigned one of shape {value.shape}")
        return Update(self._leaf(name), transpose(value, self.homes[name].order))

    def _leaf(self, name: str) -> Value:
        return state_value(name, self.store.types[name])

    def follow(self) -> bool:
        """Takes the memory of Tensors that have been replaced; whether programs must be made anew."""
        changed = False
        for name, home in list(self.homes.items()):
            tensors = [holder.get(attribute) for holder, attribute in home.places]
            if all(t is home.tensor for t in tensors) and home.tensor.data is home.array:
                continue
            if any(t is not tensors[0] for t in tensors) or not isinstance(tensors[0], Tensor):
                self._forget(name)
                changed = True
                continue
            changed |= self._settle(name, tensors[0])
        self.store.changed(list(self.homes))  # eager code may have written into any of them
        return changed

    def note_changes(self, program: Program) -> None:
        """Says that the Tensors have new numbers that a run has written, to graphs that need the old ones."""
        for name in program.written:
            if name in self.arrays:
                changes.note(self.arrays[name])

    def _forget(self, name: str) -> None:
        del self._names[id(self.homes.pop(name).tensor)], self.arrays[name]

    def _settle(self, name: str, tensor: Tensor) -> bool:
        """Makes the memory of ``tensor`` that of the state; whether it lies there in another way."""
        home = self.homes[name]
        before = home.order, self.store.types.get(name)
        order = dense_order(tensor.data)
        if order is None:
            tensor.data = np.ascontiguousarray(tensor.data)
            order = tuple(range(tensor.ndim))
        self._names.pop(id(home.tensor), None)
        self._names[id(tensor)] = name
        home.tensor, home.array, home.order = tensor, tensor.data, order
        self.arrays[name] = tensor.data
        self.store.lend(name, tensor.data.transpose(order))
        return before != (home.order, self.store.types[name])


class Draws:
    """The random numbers of a trace: one key, which each run gets anew, and a stream for each draw."""

    def __init__(self) -> None:
        self.key: Value | None = None
        self._streams = count(1)

    def next(self) -> tuple[Any, int]:
        if self.key is None:
            self.key = input_value(KEY, KEY_TYPE)
        return self.key, next(self._streams)


def fresh_key() -> np.ndarray:
    """The key of a run: the seed of eager random numbers, and the number that an eager draw would take.

    Eager draws have run 0, programs a later one, so that no two of them have the same numbers.
    """
    (seed, _), number = generator.next_key()
    return np.array([seed, number], np.uint64)


class Recording:
    """One call of eager code over Values: what it reads of modules, what it assigns, what it draws."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.draws = Draws()
        self.values: dict[str, Value] = {}  # of the states that were read
        self.updates: list[Update] = []
        self._replayed: dict[tuple[int, int], Value] = {}
        self._nodes: list[Node] = []  # those replayed, kept so that their ids remain theirs

    def call(self, f: Callable[..., Any], modules: Sequence[Module], args: Sequence[Any]) -> Any:
        """What ``f(*args)`` gives, with the parameters and buffers of ``modules`` as Values."""
        with self._symbolic(modules), generator.drawing_from(self.draws), lifting(self._lift), enable_grad():
            return map_arrays(lambda y: y if isinstance(y, Value) else Value.lift(y), f(*args))

    @contextmanager
    def _symbolic(self, modules: Sequence[Module]) -> Iterator[None]:
        kept: list[tuple[dict[str, Any], str, Tensor, str]] = []
        try:
            for holder, attribute, name in tensors_of(modules):
                state = self.memory.admit(name, holder, attribute)
                kept.append((holder, attribute, holder[attribute], state))
                holder[attribute] = self._value(state)
            yield
            new = {state: holder[a] for holder, a, _, state in kept if holder[a] is not self.values[state]}
            self.updates = [self.memory.update(state, x) for state, x in new.items()]
        finally:
            for holder, attribute, tensor, _ in kept:
                holder[attribute] = tensor
            _expect_no_values(modules)

    def _value(self, state: str) -> Value:
        if state not in self.values:
            self.values[state] = self.memory.value(state)
        return self.values[state]

    def _lift(self, tensor: Tensor) -> Value:
        """A Tensor that requires gradients: a state, or computed by the program as it was computed before."""
        if tensor.node is None:
            return self._value(self.memory.admit_other(tensor))
        for node in topological(ancestors([tensor])):
            if (id(node), 0) not in self._replayed:
                self._nodes.append(node)
                inputs = [self._replayed[key(x)] if x.node else Value.lift(x) for x in node.inputs]
                for i, value in enumerate(Value.run(node.primitive, inputs, node.place)):
                    self._replayed[id(node), i] = value
        return self._replayed[key(tensor)]


def tensors_of(modules: Sequence[Module]) -> list[tuple[dict[str, Any], str, str]]:
    """The dict, the attribute and a name of each parameter and buffer."""
    seen: set[int] = set()
    return [
        (holder, attribute, ".".join([*([str(i)] if i else []), *([path] if path else []), attribute]))
        for i, top in enumerate(modules)
        for path, module in top.named_modules(seen=seen)
        for holder in (module._parameters, module._buffers)
        for attribute, tensor in holder.items()
        if isinstance(tensor, Tensor)
    ]


def _expect_no_values(modules: Sequence[Module]) -> None:
    """Takes out of modules what they kept of a trace, which has no numbers."""
    for module in {m: None for top in modules for m in top.modules()}:
        for holder in (module._parameters, module._buffers):
            for name in [n for n, x in holder.items() if isinstance(x, Value)]:
                del holder[name]
                raise TypeError(
                    f"{type(module).__name__} registers {name!r} while it is traced: register it before, "
                    "with its shape, and assign to it"
                )


def modules_of(f: Any) -> list[Module]:
    """The modules that a function is a method of, or knows by name: bound, enclosed or global."""
    if isinstance(f, Module):
        return [f]
    if isinstance(f, partial):
        return [*modules_of(f.func), *(m for x in (*f.args, *f.keywords.values()) for m in _among(x))]
    owner = getattr(f, "__self__", None)
    if not inspect.isroutine(f):  # an object that can be called
        return [m for x in vars(f).values() for m in _among(x)]
    known: list[Any] = [owner, *getattr(owner, "__dict__", {}).values()]
    if not inspect.isbuiltin(f):
        names = inspect.getclosurevars(f)
        known += [*names.nonlocals.values(), *names.globals.values()]
    return list({id(m): m for x in known for m in _among(x)}.values())


def _among(x: Any) -> Iterator[Module]:
    if isinstance(x, Module):
        yield x
    elif isinstance(x, (list, tuple)):
        yield from (m for m in x if isinstance(m, Module))
    elif isinstance(x, dict):
        yield from (m for m in x.values() if isinstance(m, Module))
