"""The engine with a cache: a network is traced for one position, and each layer keeps what it needs of those
before (`cortex_core.layers.stepping`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.protocol import Backend
from cortex_compute.types import TensorType, int64
from cortex_core.graph.value import Graph, Update, Value, input_value
from cortex_core.layers.scope import Scope
from cortex_core.layers.stepping import Memory, StepScope
from cortex_core.network import Network
from cortex_core.ops.apply import at
from cortex_core.program import Program, compile_graph
from cortex_core.spec.description import owner
from cortex_core.trace import declarations, keywords_of, results_of

Array = np.ndarray[Any, Any]
POSITION = "index of the position"
SCORES = "scores"
SHORTEST = 16  # positions that there is room for at first, where nothing limits them


class NotStepwise(ShapeError):
    """A layer needs all positions at once; ``str`` says which and why."""


@dataclass(frozen=True)
class Stepwise:
    """A network traced for one position: the ``step`` itself, and ``before``, what it reads that does not
    grow, such as an encoder's output, and is computed once.

    ``bounded``: a layer has room for so many positions as there is context.
    """

    step: Graph
    before: Graph
    bounded: bool


def trace_step(
    network: Network, types: Mapping[str, TensorType], grows: str, of: str, context: int
) -> Stepwise:
    """The graphs of one position.

    ``types``: each input's, whole; that of the input ``grows`` is cut to one position.  ``of`` names the
    scores.  Raises `NotStepwise` where a layer has no step.
    """
    inputs = {x.name: x.place for x in network.description.inputs}
    whole: dict[str, Any] = {n: input_value(n, types[n], inputs[n]) for n in inputs if n != grows}
    token = input_value(grows, TensorType((1, 1), types[grows].dtype), inputs[grows])
    memory = Memory(input_value(POSITION, TensorType((), int64)), context)
    stepped: dict[str, Any] = {grows: token}
    crossing: dict[str, Value] = {}

    def read(name: str) -> Any:
        """A value as a step sees it."""
        if name not in stepped and name not in whole:
            raise NotStepwise(f"'{name}' is known behind the last position only")
        if name not in stepped and name not in crossing:
            crossing[name] = input_value(name, whole[name].type)
        return stepped[name] if name in stepped else crossing[name]

    for node in needed(network.description, of):
        steps = any(name in stepped or name not in whole for name in node.sources)
        values = {name: read(name) if steps else whole[name] for name in node.sources}
        with at(node.place):
            found, others = results_of(_run(network, node, values, memory if steps else None))
        home = stepped if steps else whole
        home[node.id] = found
        home.update({f"{node.id}.{name}": value for name, value in others.items()})
    if of not in stepped:
        raise NotStepwise(f"{of!r} does not depend on {grows!r}")
    updates = tuple(Update(state, memory.updates.get(name, state)) for name, state in memory.kept.items())
    step = Graph((token, memory.position, *crossing.values()), {SCORES: stepped[of]}, updates)
    given = tuple(whole[n] for n in inputs if n != grows)
    before = Graph(given, {name: whole[name] for name in crossing})
    return Stepwise(step, before, memory.bounded)


def needed(description: Any, of: str) -> list[Any]:
    """The layers on the way to a value, sources first."""
    ids, found = {node.id for node in description.layers}, []
    wanted = {owner(of, ids)}
    for node in reversed(description.layers):
        if node.id in wanted:
            found.append(node)
            wanted |= {owner(source, ids) for source in node.sources}
    return found[::-1]


def _run(network: Network, node: Any, values: Mapping[str, Any], memory: Memory | None) -> Any:
    """A layer's result: of one position, or where there is no memory of what does not grow."""
    layer = node.layer
    declared = declarations(layer, [values[name] for name in node.positional])
    own = {d.name: network.fetch(node.name_of(d.name), d, node) for d in declared}
    sources, named = [values[name] for name in node.positional], keywords_of(node, values)
    if memory is None:
        return layer.forward(Scope(own, False, node.id), *sources, **named)
    scope = StepScope(own, node.id, memory)
    if hasattr(layer, "step"):
        run = layer.step
    elif layer.positionwise:
        run = layer.forward
    else:
        raise NotStepwise(f"'{node.id}' ({node.kind}) needs all positions at once")
    try:
        found = run(scope, *sources, **named)
        _expect_one_position(network, node, results_of(found)[0], scope)
        return found
    except (ShapeError, DTypeError) as error:
        raise NotStepwise(f"'{node.id}' ({node.kind}): {getattr(error, 'reason', error)}") from error


def _expect_one_position(network: Network, node: Any, found: Any, scope: StepScope) -> None:
    """Rejects what is not one position of the forward's result, and an activation that sees all of them."""
    expected = network.types[node.id]
    expected = expected._replace(shape=(1, 1, *expected.shape[2:]))
    if not isinstance(found, Value) or found.type != expected:
        told = f"{found.dtype} {found.shape}" if isinstance(found, Value) else type(found).__name__
        raise ShapeError(f"one position gives {told}; expected {expected.dtype} {expected.shape}")
    step = getattr(getattr(node.layer, "activation", None), "step", None)
    if step is not None:
        step(scope, found)


class Steps:
    """Runs a network position by position.

    ``trace`` gives its graphs for a context.  ``context`` positions at most are read between two calls of
    `start`; where that is None but a layer has to have room, the room grows as it is needed.  ``given`` holds
    the other inputs, of one example with its batch axis.
    """

    def __init__(
        self,
        network: Network,
        backend: Backend,
        trace: Callable[[int], Stepwise],
        context: int | None,
        given: Mapping[str, Array],
    ) -> None:
        self.context = context
        self._network, self._backend, self._trace = network, backend, trace
        self._before = self._computed_before(given)
        self._tokens: list[int] = []
        self._build(context or SHORTEST)

    def start(self, tokens: Sequence[int]) -> Array:
        """The scores (tokens,) behind these tokens and nothing else."""
        for name, memory in self._memory.items():
            type = self._kept[name]
            self._stream.copy(np.zeros(type.shape, type.dtype.storage), memory.view(type))
        self._stream.synchronize()
        self._tokens = []
        return [self.next(token) for token in tokens][-1]

    def next(self, token: int) -> Array:
        """The scores (tokens,) behind one more token."""
        position = len(self._tokens)
        self._tokens.append(token)
        if position == self._room:
            self._program.close()
            self._build(2 * position)
            return self.start(self._tokens)
        inputs = {self._grows: np.full((1, 1), token), POSITION: np.asarray(position)}
        found: Array = self._program.run(inputs)[SCORES].numpy()[0, 0]
        return found

    def close(self) -> None:
        """Gives its memory back."""
        self._program.close()
        self._memory.clear()

    def _computed_before(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """What does not grow, by name."""
        graph = self._trace(self.context or SHORTEST).before
        if not graph.outputs:
            return {}
        program = Program(compile_graph(graph, self._backend), self._backend, self._network.store.fork())
        found = {name: result.numpy().copy() for name, result in program.run(given).items()}
        program.close()
        return found

    def _build(self, room: int) -> None:
        traced = self._trace(room)
        self._room = room if traced.bounded and self.context is None else None
        self._grows = traced.step.inputs[0].node.primitive.name
        self._kept = {u.state.node.primitive.name: u.state.type for u in traced.step.updates}
        device = self._backend.devices()[0]
        self._stream = device.stream()
        self._memory = {name: device.empty(max(1, type.nbytes)) for name, type in self._kept.items()}
        plan = compile_graph(traced.step, self._backend)
        self._program = Program(plan, self._backend, self._network.store.fork(), data=self._memory)
        for name, array in self._before.items():
            self._program.write(name, array)
