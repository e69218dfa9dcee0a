"""Whether two backends compute the same network, and if not, where they part.

Both run the same steps over the same batches from the same parameters.  Of the first step every layer's
output, every gradient of such an output and every parameter's gradient are outputs of a graph of their own,
compiled like any other, so that the first layer that departs is seen, and not only that the losses do.

Steps magnify rounding: where a ReLU opens or an almost vanishing gradient changes its sign, Adam makes a
whole step of it.  So each backend runs again a few times, from parameters that are moved by the rounding of a
long sum, and two backends may lie a few times as far apart as such runs of one.  What the second's runs part
counts only up to `EXCUSED` times the first's: a backend whose numbers jump must not excuse itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_compute.protocol import Backend
from cortex_compute.types import TensorType, dtype, float32
from cortex_compute.verify.result import Result
from cortex_core.declared import KEY, KEY_TYPE
from cortex_core.graph.value import Graph, Value, constant, input_value, state_value
from cortex_core.network import Network, network, with_train
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.pointwise import cast
from cortex_core.program import Program, compile_graph
from cortex_core.step import loss_values, predict_graph, scalar_name, total_loss, train_step, types_of
from cortex_core.trace import Traced, trace

STEPS, BATCH = 5, 8
TOLERANCES = {"float32": (1e-4, 2.0**-16), "float16": (2.0**-8, 2.0**-10), "bfloat16": (2.0**-5, 2.0**-7)}
"""What is allowed, of the largest number of an array, and how much of itself a parameter is moved by."""
MOVES = 3  # runs from moved parameters: by chance one may stay close where rounding parts two others
TIMES = 4  # so many times the most that comes of them is allowed as well
EXCUSED = 10
SMALL = 1e-3  # of the largest number of all: arrays below it are the rounding of what cancels in them
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """What was compared: one `Result` for each array, whose threshold is what is allowed of a difference.

    ``data`` says what the batches are.
    """

    results: tuple[Result, ...]
    data: str
    precision: str

    @property
    def departure(self) -> Result | None:
        """The first that departs: of the layers' outputs from front to back, then of the gradients from back
        to front; where all these hold, of the losses and predictions."""
        bad = [r for r in self.results if not r.passed]
        of_layers = [r for r in bad if r.name.startswith(("output/", "gradient/"))]
        return next(iter(of_layers or bad), None)


def same(
    spec: Any, first: Backend, second: Backend, precision: str | None = None, steps: int = STEPS
) -> Comparison:
    """Compares two backends on a description: the loss of each of ``steps`` steps and the prediction after
    them, and of the first step every layer's output and every gradient."""
    start = time.perf_counter()
    made = _network(spec, precision)
    batches, data = _batches(made, steps)
    precision = made.training.precision
    tolerance, by = TOLERANCES[precision]
    numbers = _numbers(made, first, batches)
    other = _numbers(_network(spec, precision), second, batches)
    moved = [
        [_numbers(_moved(_network(spec, precision), by, i), backend, batches) for i in range(MOVES)]
        for backend in (first, second)
    ]
    told = _what(made)
    scales: dict[str, float] = {}  # the largest number of each kind
    spreads: dict[str, float] = {}  # what comes of moving the parameters
    for name, a in numbers.items():
        kind, group = _kind(name), _group(name)
        scales[kind] = max(scales.get(kind, 0.0), _largest(a))
        here, there = (
            max(_largest(whole[name] - run[name]) for run in runs)
            for whole, runs in zip((numbers, other), moved)
        )
        spreads[group] = max(spreads.get(group, 0.0), here, min(there, EXCUSED * here))
    seconds = (time.perf_counter() - start) / max(1, len(numbers))
    results = []
    for name, a in numbers.items():
        b = other[name]
        allowed = tolerance * max(_largest(a), SMALL * scales[_kind(name)]) + TIMES * spreads[_group(name)]
        finite = bool(np.isfinite(a).all() and np.isfinite(b).all() and np.isfinite(allowed))
        error = _largest(a - b) if finite else float("inf")
        detail = told.get(name, name) + _not_finite(first.name, a, second.name, b)
        results.append(Result(name, error, seconds, a.nbytes, detail, allowed, "largest difference"))
    return Comparison(tuple(results), data, precision)


def _not_finite(first: str, a: np.ndarray, second: str, b: np.ndarray) -> str:
    bad = [name for name, x in ((first, a), (second, b)) if not np.isfinite(x).all()]
    return f", which is not finite on {' and '.join(bad)}" if bad else ""


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _group(name: str) -> str:
    """What shares one measure of the spread: the losses of all steps after the first, where chance has it
    that two runs which have parted come close again; each other array alone."""
    return "loss" if _kind(name) == "loss" and name != "loss/step 1" else name


def _largest(a: np.ndarray) -> float:
    return float(np.max(np.abs(a), initial=0.0))


def _network(spec: Any, precision: str | None) -> Network:
    """The network as it begins."""
    made = network(spec)
    if precision is not None:
        made.description = with_train(made.description, precision=precision)
    return made


def _moved(made: Network, by: float, seed: int) -> Network:
    """The network with each parameter moved by up to so much of itself."""
    generator = np.random.default_rng(seed)
    for name, array in made.parameters.items():
        made.parameters[name] = array * (1 + by * generator.uniform(-1, 1, array.shape))
    return made


# What is compared, and its names in the order of the computation.


def _numbers(made: Network, backend: Backend, batches: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Everything that is compared, in float64, by name."""
    declared = {x.name: dtype(x.dtype) for x in made.description.inputs}
    types = {n: TensorType(a.shape, declared.get(n, dtype(a.dtype))) for n, a in batches[0].items()}
    found: dict[str, np.ndarray] = {}
    looked = _run(_looking_graph(made, types), made, backend, batches[0])
    if made.description.losses:
        found |= dict(_losses(made, types, backend, batches))
    predicted = _run(predict_graph(made, types), made, backend, batches[0])
    return found | {f"prediction/{name}": array for name, array in predicted.items()} | looked


def _run(graph: Graph, made: Network, backend: Backend, batch: Arrays) -> dict[str, np.ndarray]:
    """The outputs of one run of a graph over the network's own parameters."""
    program = Program(compile_graph(graph, backend), backend, made.store)
    names = {x.node.primitive.name for x in graph.inputs}
    results = program.run({name: array for name, array in batch.items() if name in names})
    return {name: np.array(x, np.float64) for name, x in results.items()}


def _losses(
    made: Network, types: Mapping[str, TensorType], backend: Backend, batches: Sequence[Arrays]
) -> Iterator[tuple[str, np.ndarray]]:
    """The loss of each step of training."""
    step, optimizer = train_step(made, types), made.training.optimizer
    program = Program(compile_graph(step.graph, backend), backend, made.store)
    for number, batch in enumerate(batches, 1):
        for segment in step.segments:
            scalars = optimizer.scalars(number, optimizer.learning_rate * segment.multiplier)
            for name, value in scalars.items():
                program.write(scalar_name(segment, name), value)
        yield f"loss/step {number}", np.array(program.run(batch)["loss"], np.float64)


def _looking_graph(made: Network, types: Mapping[str, TensorType]) -> Graph:
    """A step of training without its update; its outputs are the layers' and, backwards, the gradients."""
    values = {name: input_value(name, t) for name, t in types.items()}
    inputs = {x.name: values[x.name] for x in made.description.inputs}
    key = state_value(KEY, KEY_TYPE)
    traced = trace(made.description, inputs, made.fetch, key, True, dtype(made.training.precision))
    outputs = {f"output/{node.id}": traced.values[node.id] for node in made.description.layers}
    if made.description.losses:
        outputs |= _gradients(made, traced, values)
    return Graph(tuple(values.values()), {name: _wide(x) for name, x in outputs.items() if x is not None})


def _gradients(made: Network, traced: Traced, values: Mapping[str, Value]) -> dict[str, Value | None]:
    """The gradient of the loss with respect to each layer's output and parameters, from the last layer on."""
    wanted: dict[str, Any] = {}
    for node in reversed(made.description.layers):
        wanted[f"gradient/{node.id}"] = traced.values[node.id]
        own = (name for name in traced.parameters if name.rpartition("/")[0] == node.id)
        wanted |= {f"gradient/{name}": traced.parameters[name] for name in own}
    total = total_loss(loss_values(made, traced, values), traced.penalties)
    seed = constant(np.ones((), np.float32))
    return dict(zip(wanted, differentiate([total], [seed], list(wanted.values()))))


def _wide(x: Value) -> Value:
    """At least float32, which the host can read."""
    narrow = x.dtype.kind == "float" and x.dtype.itemsize < 4
    return cast(x, float32) if narrow else x


def _what(made: Network) -> dict[str, str]:
    """What the names of outputs and gradients mean, and where the description has them."""
    told = {}
    layers = made.description.layers
    for node in layers:
        named = f"layer {node.id!r} ({node.kind}, {node.place})"
        makers = [repr(other.id) for other in layers if node.id in other.sources]
        made_by = f", which the backward of {' and '.join(makers)} makes" if makers else ""
        told[f"output/{node.id}"] = f"the output of {named}"
        told[f"gradient/{node.id}"] = f"the gradient of the output of {named}{made_by}"
    for name in made.parameters:
        told[f"gradient/{name}"] = f"the gradient of the parameter {name!r}"
    return told


# The batches.


def _batches(made: Network, steps: int) -> tuple[list[Arrays], str]:
    """The first batches of the description's data, if these are on this machine; else one that is made up."""
    from cortex_core.training.data import open_data
    from cortex_core.training.feed import Feed
    from cortex_core.training.setup import names_of
    from cortex_core.training.source import find, is_present

    data = made.training.data
    reason = "" if data is not None else "the description names no data"
    if isinstance(data, str) and not is_present(find(data)):
        reason = f"{data} is not on this machine"
    elif data is not None:
        try:
            found = open_data(made.description, validation=0, encoding=made.encoding)
        except DataError as error:
            reason = str(error).splitlines()[0]
    if reason or not made.description.losses:
        return [made_up(made, BATCH)] * steps, f"a made-up batch of {BATCH}" + (reason and f": {reason}")
    source = found.plain
    size = min(BATCH, len(source))
    feed = Feed(source, names_of(made), size, made.training.seed)
    numbers = (i % (len(source) // size) for i in range(steps))
    return [feed.batch(0, i, names_of(made)).arrays for i in numbers], f"batches of {size} of {found.what}"


def made_up(made: Network, batch: int) -> Arrays:
    """A batch of random inputs and targets: floats in 0..1, class indices that exist, tokens 0 and 1."""
    generator = np.random.default_rng(0)
    classes = {x.target: made.types[x.of].shape[-1] for x in made.description.compared}
    return {
        name: _random(generator, type, classes.get(name, 2)) for name, type in types_of(made, batch).items()
    }


def _random(generator: np.random.Generator, type: TensorType, classes: int) -> np.ndarray:
    if type.dtype.kind == "float":
        return generator.random(type.shape).astype(type.dtype.storage)
    return generator.integers(0, max(1, classes), type.shape)
