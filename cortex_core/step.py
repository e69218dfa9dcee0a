"""Forward, loss, gradients, update: the graphs of a network for training, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from cortex_compute.expression import E, build
from cortex_compute.frozen import frozen
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.types import DType, TensorType, dtype, float32, float64, int64
from cortex_core.declared import KEY, KEY_TYPE, free_length
from cortex_core.graph.value import Graph, Update, Value, constant, input_value, state_value
from cortex_core.network import Network
from cortex_core.ops.apply import apply, at, told_at
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.indexing import concatenate, gather
from cortex_core.ops.pointwise import cast, divide, isfinite, maximum, minimum, select, sqrt
from cortex_core.ops.reduce import sum as total_of
from cortex_core.ops.views import broadcast_to, reshape
from cortex_core.store import SegmentKey
from cortex_core.terms import known, samples_of, stream_value, types_of_streams
from cortex_core.trace import Fetch, Traced, trace

ROWS = "rows of the data"
"""The input that names the examples of a batch, where the data lie on the device."""


@frozen
class LossValue:
    """One loss of a step: its mean over the samples, and the sums that the mean of an epoch needs."""

    name: str
    mean: Value
    total: Value
    count: Value
    weight: float
    weights: Value | None = None


def types_of(
    network: Network, batch: int, streams: Mapping[str, TensorType] | None = None
) -> dict[str, TensorType]:
    """The types of all inputs and targets for a batch size; ``streams``: those that data has told."""
    from cortex_core.trace import batch_type

    told, free = dict(streams or {}), free_length(network.description)
    types = {
        x.name: told.get(x.name) or batch_type(x.shape, x.dtype, batch, free)
        for x in network.description.inputs
    }
    for loss in network.description.losses:
        of = network.types[loss.of]
        for name, default in types_of_streams(loss, TensorType((batch, *of.shape[1:]), of.dtype)):
            types.setdefault(name, told.get(name) or default)
    return types


def predict_graph(
    network: Network, types: Mapping[str, TensorType], raw: bool = False, fetch: Fetch | None = None
) -> Graph:
    """Inputs to outputs; probabilities where a loss on that output knows how.

    ``fetch`` gives parameters in place of the network, in whose graphs they are parts of their segments.
    """
    inputs = {x.name: input_value(x.name, types[x.name], x.place) for x in network.description.inputs}
    traced = trace(network.description, inputs, fetch or network.fetch, None, training=False)
    outputs = {}
    for name in network.description.outputs:
        value = known(traced, name)
        outputs[name] = value if raw else predictions(network, name, value)
    return Graph(tuple(inputs.values()), outputs)


def predictions(network: Network, name: str, value: Value) -> Value:
    """What predict shows of a node: the prediction of the first loss on it, else the node itself."""
    for loss in network.description.losses:
        if loss.of == name and loss.target:
            shown: Value = loss.loss.prediction(value)
            return shown
    return value


def loss_values(network: Network, traced: Traced, targets: Mapping[str, Value]) -> list[LossValue]:
    """Each loss of the description."""
    found = []
    for node in network.description.losses:
        with told_at(node.place):
            values, weights = samples_of(node, traced, targets)
            if weights is None:
                count = constant(np.asarray(values.size, np.float32))
                total = total_of(values)
                mean = divide(total, float(max(1, values.size)))
            else:
                count, total = total_of(weights), total_of(select(weights > 0, values * weights, 0.0))
                mean = select(count > 0, divide(total, select(count > 0, count, 1.0)), 0.0)
        found.append(LossValue(node.name, mean, total, count, node.weight, weights))
    return found


def total_loss(losses: Sequence[LossValue], penalties: Sequence[Value]) -> Value:
    """The weighted sum of the losses, and the penalties."""
    parts = [x.mean * x.weight if x.weight != 1.0 else x.mean for x in losses]
    total: Value = reduce(lambda a, b: a + b, [*parts, *penalties])
    return total


class Accumulators:
    """Sums over the batches of an epoch, kept as states: the loss, each loss by name, and the metrics."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self.updates: list[Update] = []
        self.finish: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {}

    @property
    def states(self) -> list[str]:
        """The names of the states that hold the sums."""
        return [u.state.node.primitive.name for u in self.updates]

    def add(self, name: str, summands: Sequence[Any], result: Callable[..., Any]) -> None:
        """The sums of ``summands`` over the batches; ``result(*totals)`` makes the number from them."""
        states = []
        for i, x in enumerate(summands):
            state = state_value(f"metric/{self.purpose}/{name}/{i}", TensorType(x.shape, float64))
            self.updates.append(Update(state, state + (x if x.dtype is float64 else cast(x, float64))))
            states.append(state.node.primitive.name)
        self.finish[name] = lambda arrays: result(*(arrays[s] for s in states))


def accumulate(
    network: Network,
    purpose: str,
    total: Value,
    losses: Sequence[LossValue],
    traced: Traced,
    targets: Mapping[str, Value],
) -> Accumulators:
    """The accumulators of one pass over the data."""
    sums = Accumulators(purpose)
    samples = reduce(lambda a, b: a + b, [x.count for x in losses])

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(a) / float(b) if float(b) else float("nan")

    sums.add("loss", [total * samples, samples], mean)
    if len(losses) > 1:
        for x in losses:
            sums.add(x.name, [x.total, x.count], mean)
    for metric in network.training.metrics:
        pair = (metric.of, metric.target)
        nodes = {(n.of, n.target): x for n, x in zip(network.description.losses[::-1], losses[::-1])}
        value, target = known(traced, metric.of), stream_value(metric.derive or metric.target, targets)
        weights = nodes[pair].weights if pair in nodes else None
        with told_at(metric.place):
            summands = metric.metric.sums(predictions(network, metric.of, value), target, weights)
        sums.add(metric.name, summands, metric.metric.result)
    return sums


@frozen
class Step:
    """A graph, and what the host needs beside it: the scalars that the updates read, and the sums."""

    graph: Graph
    accumulators: Accumulators
    segments: tuple[SegmentKey, ...] = ()


def train_step(
    network: Network, types: Mapping[str, TensorType], kept: Mapping[str, TensorType] | None = None
) -> Step:
    """One step of training: forward, loss, gradients, clipping, update, statistics.

    With ``kept`` the data lie on the device (`data_name`), and a batch is given as its `ROWS`.  The layers
    and their gradients compute in the precision that is asked for; losses, parameters, the gradients of these
    and the update stay in float32.
    """
    options = network.training
    key = state_value(KEY, KEY_TYPE)
    values, given = batch_values(network, types, kept)
    traced = _forward(network, values, key, True, dtype(options.precision))
    losses = loss_values(network, traced, values)
    total = total_loss(losses, traced.penalties)
    segments = segment_gradients(network, traced, total)
    scale, norm = _clip(options, segments)
    updates: list[Update] = []
    scalars: list[Value] = []
    for segment, g in segments.items():
        made, inputs = segment_update(network, options, segment, g, scale)
        updates += made
        scalars += inputs
    updates += [Update(state_value(n, v.type), v) for n, v in traced.updates.items()]
    sums = accumulate(network, "train", total, losses, traced, values)
    advanced = Update(key, key + constant(np.array([0, 1], np.uint64)), guarded=False)
    outputs = {"loss": total} | ({x.name: x.mean for x in losses} if len(losses) > 1 else {})
    if norm is not None:
        outputs["gradient_norm"] = norm
    graph = Graph(
        (*given, *scalars),
        outputs,
        (*updates, *sums.updates, advanced),
        predicate=isfinite(total if norm is None else norm + total),
    )
    return Step(graph, sums, tuple(segments))


def evaluate_step(
    network: Network, types: Mapping[str, TensorType], kept: Mapping[str, TensorType] | None = None
) -> Step:
    """Forward, losses and metrics, in the mode of evaluation; ``kept`` as in `train_step`."""
    values, given = batch_values(network, types, kept)
    traced = _forward(network, values, None, False, float32)
    losses = loss_values(network, traced, values)
    total = total_loss(losses, traced.penalties)
    sums = accumulate(network, "evaluate", total, losses, traced, values)
    return Step(Graph(given, {"loss": total}, tuple(sums.updates)), sums)


def batch_values(
    network: Network, types: Mapping[str, TensorType], kept: Mapping[str, TensorType] | None
) -> tuple[dict[str, Value], tuple[Value, ...]]:
    """The streams of a batch, and the inputs of the graph: the streams themselves, or, of data that lie on
    the device, the rows that are gathered there."""
    places = {x.name: x.place for x in network.description.inputs}
    if not kept:
        values = {name: input_value(name, t, places.get(name)) for name, t in types.items()}
        return values, tuple(values.values())
    rows = input_value(ROWS, TensorType(next(iter(types.values())).shape[:1], int64))
    values = {}
    for name, t in types.items():
        with at(places.get(name)):
            found = gather(state_value(data_name(name), kept[name]), rows)
            values[name] = found if found.dtype is t.dtype else cast(found, t.dtype)
    return values, (rows,)


def data_name(stream: str) -> str:
    """The state of a graph that holds a whole stream of data; its memory is no network's."""
    return f"data/{stream}"


def _forward(
    network: Network, values: Mapping[str, Value], key: Value | None, training: bool, precision: DType
) -> Traced:
    inputs = {x.name: values[x.name] for x in network.description.inputs}
    return trace(network.description, inputs, network.fetch, key, training, precision)


def segment_gradients(network: Network, traced: Traced, total: Value) -> dict[SegmentKey, Value]:
    """The gradient of the loss for each trainable segment, one flat array each."""
    names = [n for n, slot in network.slots.items() if slot.segment.trainable]
    seed = constant(np.ones((), np.float32))
    gradients = differentiate([total], [seed], [traced.parameters[n] for n in names])
    parts: dict[SegmentKey, list[Value]] = {}
    for name, g in zip(names, gradients):
        slot = network.slots[name]
        if g is None:
            g = broadcast_to(constant(np.zeros((), np.float32)), slot.type.shape)
        parts.setdefault(slot.segment, []).append(reshape(g, (slot.type.size,)))
    return {s: concatenate(p, 0) if len(p) > 1 else p[0] for s, p in parts.items()}


def _clip(options: Any, segments: Mapping[SegmentKey, Value]) -> tuple[Value | None, Value | None]:
    """The factor that brings the norm of all gradients down to ``clip_norm``, and the norm."""
    if options.clip_norm is None or not segments:
        return None, None
    norm = sqrt(reduce(lambda a, b: a + b, [total_of(g * g) for g in segments.values()]))
    limit = float(options.clip_norm)
    return minimum(divide(limit, norm + 1e-6), 1.0), norm


def segment_update(
    network: Network, options: Any, segment: SegmentKey, g: Value, scale: Value | None
) -> tuple[list[Update], list[Value]]:
    """The optimiser over one segment: one pointwise node that gives the new parameters and moments."""
    optimizer = options.optimizer
    type = network.store.types[str(segment)]
    p = state_value(str(segment), type)
    moments = [state_value(f"{segment}/{name}", type) for name in optimizer.state]
    names = list(optimizer.scalars(1, optimizer.learning_rate))
    scalars = [input_value(scalar_name(segment, n), TensorType((), float32)) for n in names]
    limit = options.clip_value

    def formula(p: E, g: E, *rest: E) -> Sequence[E]:
        state, hyper = rest[: len(moments)], rest[len(moments) : len(moments) + len(names)]
        if scale is not None:
            g = g * rest[-1]
        if limit is not None:
            g = minimum(maximum(g, -float(limit)), float(limit))
        new: Sequence[E] = optimizer.update(p, g, *state, **dict(zip(names, hyper)))
        return new

    operands = [p, g, *moments, *scalars, *([] if scale is None else [scale])]
    built = build(formula, len(operands))
    new = apply(Elementwise(built.code, built.literals), *operands)
    results = list(new) if isinstance(new, tuple) else [new]
    if segment.alone:
        declared = network.declared[segment.alone]
        results[0] = reshape(_held(declared.rules, reshape(results[0], declared.type.shape)), type.shape)
    return [Update(s, v) for s, v in zip([p, *moments], results)], scalars


def _held(rules: Sequence[Any], p: Value) -> Value:
    """A parameter for which the rules hold."""
    for rule in rules:
        p = rule.apply(p)
    return p


def scalar_name(segment: SegmentKey, name: str) -> str:
    """The input that holds a scalar of a segment's update."""
    return f"{segment}:{name}"
