"""An ONNX graph becomes a description with weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from cortex_compute.errors import CortexError, SpecError
from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Builder, Unfit
from cortex_core.exchange.from_onnx import operators
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.folding import FOLDS, folded
from cortex_core.exchange.from_onnx.idioms import plainer
from cortex_core.exchange.from_onnx.layers import Layers
from cortex_core.exchange.from_onnx.model import File, Graph, Node, Port
from cortex_core.exchange.from_onnx.order import ordered
from cortex_core.exchange.from_onnx.stacked import Given, Stacked, apart
from cortex_core.exchange.from_onnx.tensors import MOST_AXES, TYPES
from cortex_core.exchange.from_onnx.value import BATCHES, Known, Mixed, Value, fixed

MOST_TOLD = 50
"""Of so many nodes that cannot be imported it is said why."""
LONGEST_AXIS = 2**31
SAME = {"FLOAT": "float32", "INT64": "int64", "BOOL": "bool"}
"""The types that are the same here."""
WIDER = {"DOUBLE": "float32", "FLOAT16": "float32", "BFLOAT16": "float32", "INT32": "int64"}
"""Those that are other ones here, which compute alike."""
NARROW = ("INT8", "INT16", "UINT8", "UINT16", "UINT32")
"""Those whose numbers an int64 holds, but which wrap around elsewhere."""
SHAPES = ("Shape", "Size")
UNSTACKED = (*SHAPES, "Reshape", "Transpose")
"""What takes `Stacked` values as they are."""
RECURRENT = ("RNN", "LSTM", "GRU")
SUBGRAPHS = "graphs within the graph are not supported; export the model traced, for one way through it"
Result = Value | Known | Stacked
HINTS = dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), SUBGRAPHS)


@frozen
class Fault:
    """A node that cannot be imported, and why."""

    node: str
    kind: str
    told: str

    def __str__(self) -> str:
        return f"{self.node} ({self.kind}): {self.told}" if self.kind else f"{self.node}: {self.told}"


@dataclass
class Converted:
    """What became of a graph.

    ``inputs`` and ``outputs`` say by the names of ONNX what is here; ``batch`` is the axis of the inputs in
    ONNX along which the examples lie (of those that have only one axis that one), None where a whole input is
    one example.
    """

    builder: Builder
    batch: int | None
    inputs: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    faults: dict[Fault, None] = field(default_factory=dict)  # each once, in their order
    notes: list[str] = field(default_factory=list)

    def description(self, name: str) -> dict[str, Any]:
        """The description as plain data."""
        return {
            "cortex": 1,
            "name": name,
            "inputs": self.builder.inputs,
            "layers": self.builder.layers,
            "outputs": list(dict.fromkeys(v.source for v in self.outputs.values())),
        }


def convert(file: File) -> Converted:
    """The description and weights of a graph.

    The first axis of the inputs is read as that of the examples; where that cannot be, the second, which
    recurrent operators have there, and else no axis: then all of an input is one example.  Raises `SpecError`
    with every node that cannot be imported in the likeliest of these readings.
    """
    graph = ordered(plainer(file.graph))
    computed = _computed(graph)
    unknown = {node.outputs: fault for node in graph.nodes for fault in _unknown(node, file.opset, computed)}
    walks = []
    for batch in _readings(graph):
        walk = _Walk(graph, file.opset, batch, unknown)
        if not walk.made.faults:
            walk.made.builder.keep(value.source for value in walk.made.outputs.values())
            return walk.made
        walks.append(walk)
    likeliest = next((walk for walk in walks if not walk.mixed), walks[0])
    raise _error(likeliest.made.faults)


def _error(faults: dict[Fault, None]) -> SpecError:
    lines = [f"  {fault}" for fault in islice(faults, MOST_TOLD)]
    more = len(faults) - len(lines)
    lines += [f"  and {more:,} more"] if more else []
    return SpecError("\n".join((f"{len(faults):,} of the graph's nodes cannot be imported:", *lines)))


def _computed(graph: Graph) -> set[str]:
    """The names of values that depend on what the inputs hold, and not on their shapes alone."""
    found = {port.name for port in graph.inputs}
    for node in graph.nodes:
        if node.op not in SHAPES and not found.isdisjoint(node.inputs):
            found.update(node.outputs)
    return found - {""}


def _unknown(node: Node, opset: int, computed: set[str]) -> Iterator[Fault]:
    """What is not in the table of operators."""
    if node.domain:
        yield Fault(node.called, node.kind, f"operators of {node.domain} are not known; export without them")
        return
    since, known = _since(node, opset), operators.load().get(node.op)
    if not since:
        yield Fault(node.called, node.kind, f"ONNX has no such operator in opset {opset}")
    elif known is None and node.op not in FOLDS:
        yield Fault(node.called, node.kind, HINTS.get(node.op, "this operator is not supported"))
    elif known is None and node.op not in SHAPES and not computed.isdisjoint(node.inputs):
        yield Fault(node.called, node.kind, "it is supported of constants alone, and of the shapes of values")
    elif known is not None and since not in known.versions:
        told = f"its definition of opset {since} is not supported; those of {_listed(known.versions)} are"
        yield Fault(node.called, node.kind, told)


def _since(node: Node, opset: int) -> int:
    """The opset of the definition of a node's operator."""
    return node.since or operators.version(node.op, opset)


def _listed(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions))


def _readings(graph: Graph) -> Iterator[int | None]:
    """The axes of the inputs that may be that of the examples, the likeliest first."""
    shapes = [port.shape or () for port in graph.inputs]
    for axis in (0, 1) if any(node.op in RECURRENT for node in graph.nodes) else (0,):
        sizes = {shape[min(axis, len(shape) - 1)] for shape in shapes if shape}
        if shapes and all(shapes) and len({n for n in sizes if isinstance(n, int)}) < 2:
            yield axis
    yield None


def _axis(port: Port, batch: int | None) -> int | None:
    """The axis of the examples of an input; where there is but one, that."""
    return None if batch is None or port.shape is None else min(batch, len(port.shape) - 1)


def _batches(graph: Graph, batch: int | None) -> tuple[int, int]:
    """Two sizes of a batch, or twice the one for which the graph is."""
    axes = [(port.shape, _axis(port, batch)) for port in graph.inputs]
    sizes = [shape[axis] for shape, axis in axes if shape and axis is not None]
    size = next((n for n in sizes if isinstance(n, int)), None)
    return BATCHES if size is None else (size, size)


class _Walk:
    """Translates each node in order; a value that depends on what is not known is None."""

    def __init__(
        self, graph: Graph, opset: int, batch: int | None, unknown: Mapping[tuple[str, ...], Fault]
    ) -> None:
        self.graph, self.opset, self.unknown = graph, opset, unknown  # by the outputs of the nodes
        self.made = Converted(Builder(), batch)
        self.layers = Layers(self.made.builder, self.made.notes, _batches(graph, batch), {})
        self.values: dict[str, Given] = {"": None}
        self.consumers = graph.consumers()
        self.absorbed: set[str] = set()
        self.stack: int | None = None  # the axis that is `Stacked`, of the node that is translated
        self.mixed = False  # whether a node does not suit this reading
        self._names = dict.fromkeys(graph.outputs)
        self.made.inputs = {port.name: x for port in graph.inputs if (x := self._input(port)) is not None}
        for node in graph.nodes:
            self._node(node)
        if not self.made.faults:
            self._outputs()

    # Inputs and outputs

    def _input(self, port: Port) -> Value | None:
        try:
            value = self._declared(port)
        except (Unfit, CortexError) as error:
            self._fault(f"the input {port.name!r:.60}", "", str(error))
            return None
        self.values[port.name] = value
        return value

    def _declared(self, port: Port) -> Value:
        if port.dtype not in (*SAME, *WIDER, *NARROW):
            raise Unfit(f"it is of {port.dtype}; supported: {', '.join((*SAME, *WIDER, *NARROW))}")
        if port.shape is None:
            raise Unfit("the file does not say how many axes it has; export it with a shape")
        if len(port.shape) > MOST_AXES:
            raise Unfit(f"it has {len(port.shape):,} axes; at most {MOST_AXES} are supported")
        if any(isinstance(n, int) and not 0 < n <= LONGEST_AXIS for n in port.shape):
            raise Unfit(f"its shape is {[*port.shape]!r:.80}; supported are sizes from 1 to {LONGEST_AXIS:,}")
        if port.dtype in ("DOUBLE", "FLOAT16", "BFLOAT16"):
            self.made.notes.append(f"{port.name} is of {port.dtype} there; here all is computed in float32")
        dtype = SAME.get(port.dtype) or WIDER.get(port.dtype, "int64")
        sizes = tuple(n if isinstance(n, int) else None for n in port.shape)
        batch = _axis(port, self.made.batch)
        here = sizes if batch is None else sizes[:batch] + sizes[batch + 1 :]
        places = iter(range(1, len(sizes) + 1))
        order = tuple(0 if axis == batch else next(places) for axis in range(len(sizes)))
        source = self.made.builder.input(port.name, here, dtype)
        return Value(source, here, order, dtype, TYPES[port.dtype] if port.dtype in NARROW else "")

    def _outputs(self) -> None:
        for name in self.graph.outputs:
            found = self.values.get(name)
            try:
                if isinstance(found, Stacked):
                    raise Mixed("its examples and another axis are one axis; export it with both")
                if not isinstance(found, Value):
                    raise Unfit("it is constant; take it out of the outputs")
                self.layers.path = name
                self.made.outputs[name] = self._given(self.layers.plain(found), name)
            except (Unfit, CortexError) as error:
                self.mixed |= isinstance(error, Mixed)
                self._fault(f"the output {name!r:.60}", "", str(error))

    def _given(self, value: Value, name: str) -> Value:
        """An output; an input that is one as it is goes through a layer, as a description needs, and so does
        what is another output already."""
        taken = {v.source for v in self.made.outputs.values()}
        if value.batch:
            told = f"its examples lie along axis {value.batch} there, and along the first here"
            self.made.notes.append(f"the output {name}: {told}")
        if value.source not in self.made.builder.inputs and value.source not in taken:
            return value
        return self.layers.put_at(f"{name}_out", "linear", value, None, None, True, {})

    # Nodes

    def _node(self, node: Node) -> None:
        results: Sequence[Result] = ()
        try:
            if node.outputs in self.unknown:
                self.made.faults[self.unknown[node.outputs]] = None
                raise _Unknown
            results = self._results(node)
            lacking = [name for name in node.outputs[len(results) :] if self._is_wanted(name)]
            if lacking:
                raise Unfit(f"its output {', '.join(lacking)} is not supported")
        except _Unknown:
            results = ()
        except (Unfit, CortexError) as error:
            self.mixed |= isinstance(error, Mixed)
            self._fault(node.called, node.kind, str(error))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # A file may hold anything where a translator expects a number, or a list of them.
            told = f"its attributes or inputs are not as ONNX has them ({type(error).__name__}: {error})"
            self._fault(node.called, node.kind, told)
        for place, name in enumerate(node.outputs):
            self.values[name] = results[place] if place < len(results) else None
        self.values[""] = None

    def _results(self, node: Node) -> Sequence[Result]:
        given: Sequence[Given] = [self._operand(name) for name in node.inputs]
        since, wanted = _since(node, self.opset), [self._is_wanted(name) for name in node.outputs]
        stacks = node.op not in UNSTACKED and any(isinstance(x, Stacked) for x in given)
        self.stack = None
        if stacks:
            given, self.stack = apart(node, given)
        at = At(node, since, given, wanted, self.layers, self._path(node), self)
        computed = any(isinstance(x, (Value, Stacked)) for x in given)
        known = node.op in FOLDS and (not computed or node.op in SHAPES)
        if known:
            found: Any = folded(at)
        elif node.outputs[0] in self.absorbed:
            found = next(x for x in given if isinstance(x, Value))
        else:
            found = operators.OPERATORS[node.op].translate(at)
        at.finish()
        results = [found] if isinstance(found, (Value, Known, Stacked)) else list(found)
        return [self._together(x) for x in results]

    def _together(self, x: Result) -> Result:
        """What a node gives whose inputs are `Stacked`, and taken apart for its layers."""
        return Stacked(x, self.stack) if self.stack is not None and isinstance(x, Value) else x

    def _operand(self, name: str) -> Given:
        if name in self.graph.tensors and name not in self.values:
            self.values[name] = fixed(self.graph.tensors[name].array)
        found = self.values.get(name)
        if name and found is None:
            raise _Unknown
        return found

    def _is_wanted(self, name: str) -> bool:
        return name != "" and (name in self.consumers or name in self._names)

    def _path(self, node: Node) -> str:
        """What the layers of a node are called: as the output that it gives of the graph, or as the node."""
        output = next((name for name in node.outputs if name in self._names), "")
        return output or node.name or node.op.lower()

    def follower(self, node: Node) -> tuple[Node, list[Given]] | None:
        """The only node that takes the first output of this one, with its other inputs, where these are
        constant."""
        takers, name = self.consumers.get(node.outputs[0], []), node.outputs[0]
        if len(takers) != 1 or name in self._names:
            return None
        others: list[Given] = []
        for other in takers[0].inputs:
            if other == name:
                continue
            if other not in self.graph.tensors and not isinstance(self.values.get(other), Known):
                return None
            others.append(self._operand(other))
        return takers[0], others

    def absorb(self, node: Node) -> None:
        """A node that has nothing left to do: it gives the value that it takes."""
        self.absorbed.add(node.outputs[0])

    def _fault(self, called: str, kind: str, told: str) -> None:
        self.made.faults[Fault(called, kind, told)] = None


class _Unknown(Exception):
    """A node takes what is not known, which was told of before."""
