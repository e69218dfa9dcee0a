"""Everything that can be said of a description before a number is computed: mistakes, shapes, work and
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cortex_compute.backends import get
from cortex_compute.errors import DataError, DTypeError, ShapeError
from cortex_compute.types import TensorType, dtype
from cortex_core.declared import CHECK_BATCH, KEY, declare, free_length
from cortex_core.graph.value import Value, input_value
from cortex_core.network import Network
from cortex_core.ops.apply import at
from cortex_core.place import Place, Problem
from cortex_core.program import compile_graph
from cortex_core.registry import nearest
from cortex_core.spec import Description, inspect, locate
from cortex_core.step import Step, predict_graph, train_step, types_of
from cortex_core.streams import mismatches
from cortex_core.summary import LayerRow, rows
from cortex_core.terms import samples_of, stream_value, types_of_streams
from cortex_core.trace import Traced, batch_type
from cortex_core.training.data import expect_test, open_data, pinned
from cortex_core.training.examples import MissingFile

if TYPE_CHECKING:
    from cortex_core.graph.plan import Plan

BATCH_SIZE = 64


@dataclass(frozen=True)
class Memory:
    """Bytes that a program takes, exactly.

    ``parameters``: all parameters and running statistics.  ``gradients``, ``moments`` (of the optimiser),
    ``workspace`` (the largest scratch of a kernel) and ``activations``: all that remains, which is what lies
    between the layers, the batch, constants and the sums of the metrics.  ``total`` is the sum of the five.
    ``arena`` is the memory that values share in turns: it holds gradients, workspace and most of the
    activations.

    ``predict_total`` and ``predict_arena`` are the same for a prediction.  A description without a loss
    cannot be trained: there the other fields are those of a prediction.
    """

    parameters: int
    gradients: int
    moments: int
    activations: int
    workspace: int
    total: int
    arena: int
    predict_total: int
    predict_arena: int


@dataclass(frozen=True)
class Report:
    """What `check` found.  ``memory`` is None where there are ``problems``, ``description`` where nothing was
    readable.

    ``outline`` is a network without numbers.
    """

    description: Description | None
    problems: tuple[Problem, ...]
    layers: tuple[LayerRow, ...] = ()
    memory: Memory | None = None
    batch_size: int = BATCH_SIZE
    notes: tuple[str, ...] = ()
    outline: Network | None = None

    def as_data(self) -> dict[str, Any]:
        """What ``cortex check --json`` writes."""
        return {
            "errors": [p.as_data() for p in self.problems],
            "layers": [row.as_data() for row in self.layers],
            "memory": None if self.memory is None else asdict(self.memory),
            "batch_size": self.batch_size,
            "notes": list(self.notes),
            "hash": self.description.hash if self.description is not None and not self.problems else None,
        }


def check(
    source: Any, overrides: Sequence[str] = (), backend: str = "numpy", batch_size: int | None = None
) -> Report:
    """Checks the description in a dict or a YAML file: all of its mistakes at once, else shapes and memory.

    Makes no arrays, and reads data only where ``train.data`` names files and these are here.  ``backend`` is
    the one whose memory is counted; ``batch_size`` is the description's by default.  Raises `SpecError` only
    for a file that cannot be read.
    """
    description, found = inspect(source, overrides)
    if description is None:
        return Report(None, tuple(found))
    streams, unknown, said = _streams(description, source, overrides)
    data = description.train.data if streams else ""
    what = f"data set '{data}'" if isinstance(data, str) else "the data"
    if streams and not found and not unknown and all(x.name in streams for x in description.inputs):
        description = pinned(description, streams)
    known = _known_inputs(description, streams, what) if streams else description
    declared, traced = declare(known)
    problems = [*found, *traced.problems, *unknown]
    types = {name: value.type for name, value in traced.values.items() if value is not None}
    if streams:
        problems += mismatches(description, types, streams, what)
    problems += _losses(description, traced, streams, {p.place for p in problems})
    problems += _monitors(description, source, overrides)
    problems += [] if problems else _untold(description)
    layers = tuple(rows(known))
    size = batch_size or (description.train.batch_size if description.train is not None else BATCH_SIZE)
    if problems:
        return Report(description, tuple(_in_order(problems)), layers, None, size, description.notes)
    outline = Network.outline(description, (declared, traced))
    memory = count_memory(outline, backend, size, streams)
    return Report(description, (), layers, memory, size, (*_notes(description), *said), outline)


def misfits(description: Description) -> list[Problem]:
    """What does not fit in a description that can be read: shapes, losses, metrics; no data are asked."""
    traced = declare(description)[1]
    found = list(traced.problems)
    return [*found, *_losses(description, traced, {}, {p.place for p in found})]


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    """By line and column, each once; overrides and dicts, which have none, in the order found."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.place.line or 0, p.place.column or 0))


def _untold(description: Description) -> Iterator[Problem]:
    """Each input whose shape is left to data that do not tell it."""
    for x in description.inputs:
        if x.shape is None:
            told = f"'{x.name}' is auto, and no data tell its shape"
            expected = "expected train.data with a stream of this name, or the shape"
            yield Problem(x.place.path, told, expected, "", x.place)


def measured(description: Description) -> list[str]:
    """What a training of a description measures in each epoch."""
    from cortex_core.training.setup import CROSS_ENTROPIES

    metrics = () if description.train is None else description.train.metrics
    names = ["loss", *(n.name for n in description.losses if len(description.losses) > 1)]
    names += [m.name for m in metrics if m.kind != "confusion_matrix"]
    if not metrics and any(n.kind in CROSS_ENTROPIES for n in description.compared):
        names.append("accuracy")  # which a training on class labels measures by itself
    return [*names, *(f"validation_{name}" for name in names)]


def _monitors(description: Description, source: Any, overrides: Sequence[str]) -> Iterator[Problem]:
    """Each option that watches a number which this training will not measure."""
    train = description.train
    if train is None:
        return
    known = measured(description)
    for option in ("early_stopping", "schedule"):
        monitor = getattr(getattr(train, option), "monitor", None)
        if monitor is not None and monitor not in known:
            place = locate(source, overrides, ("train", option))
            hint = nearest(monitor, known)
            yield Problem(
                place.path,
                f"monitor {monitor!r} is not measured",
                f"there are {', '.join(known)}",
                hint,
                place,
            )


def _notes(description: Description) -> tuple[str, ...]:
    free = [x.name for x in description.inputs if None in (x.shape or ())]
    counted = (
        f"{', '.join(free)}: axes of any length are counted as {free_length(description)} long"
        if free
        else ""
    )
    return (*description.notes, counted) if counted else description.notes


def _streams(
    description: Description, source: Any, overrides: Sequence[str]
) -> tuple[Mapping[str, Any], list[Problem], tuple[str, ...]]:
    """The streams of the data that the description names: of a data set they are known, files are opened.

    Besides what is wrong with them, and notes.  That a file is not here is a mistake only where a shape is
    left to the data.
    """
    from cortex_core.training.source import find

    train = description.train
    if train is None or train.data is None:
        return {}, [], ()
    if not isinstance(train.data, str):
        return _streams_of_files(description, source, overrides)
    dataset, option = None, "data"
    try:
        dataset = find(train.data)
        option = "test"
        expect_test(train, dataset.lengths)
        option = "validation"
        named = isinstance(train.validation, str) and train.validation not in dataset.lengths
        if named:
            find(train.validation)
    except DataError as error:
        place = locate(source, overrides, ("train", option))
        splits = (
            ""
            if dataset is None or option == "test"
            else f"; {dataset.name} has {', '.join(dataset.lengths)}"
        )
        streams = {} if dataset is None else dataset.streams
        return streams, [Problem(place.path, f"{error}{splits}", "", "", place)], ()
    return dataset.streams, [], ()


def _streams_of_files(
    description: Description, source: Any, overrides: Sequence[str]
) -> tuple[Mapping[str, Any], list[Problem], tuple[str, ...]]:
    if not description.losses or not description.canonical:
        return {}, [], ()
    try:
        data = open_data(description)
    except MissingFile as error:
        if all(x.shape is not None for x in description.inputs):
            return {}, [], (f"the data were not looked at: {error}",)
        problem = str(error)
    except DataError as error:
        problem = str(error)
    else:
        return data.streams, [], tuple(data.notes)
    place = locate(source, overrides, ("train", "data"))
    return {}, [Problem(place.path, problem, "", "", place)], ()


def _known_inputs(description: Description, streams: Mapping[str, Any], what: str) -> Description:
    """The description; an input that does not suit its data has no shape, so that nothing follows from it."""
    wrong = {p.place for p in mismatches(description, {}, streams, what)}
    inputs = (
        replace(x, shape=None) if x.name in streams and x.place in wrong else x for x in description.inputs
    )
    return replace(description, inputs=tuple(inputs))


def _losses(
    description: Description, traced: Traced, streams: Mapping[str, Any], reported: set[Place]
) -> Iterator[Problem]:
    """Each loss and each metric that cannot be computed from its node and its target.

    A metric that measures what a wrong loss has for node and target is not reported beside it.
    """
    with_target = [node for node in reversed(description.losses) if node.target]
    by_node = {node.of: node for node in with_target}
    targets = {node.target: node for node in with_target}
    wrong, given = set(), _given(description, traced, streams)
    for node in description.losses:
        skip = node.place in reported
        problems = [] if skip else list(_of_loss(node, traced, given))
        yield from problems
        if problems or skip:
            wrong.add((node.of, node.target))
    for node in description.train.metrics if description.train is not None else ():
        if node.place not in reported and (node.of, node.target) not in wrong:
            sums = partial(_sums, node.metric, by_node.get(node.of))
            yield from _try(node, traced, given, targets.get(node.target), sums)


def _of_loss(node: Any, traced: Traced, given: Mapping[str, Value]) -> Iterator[Problem]:
    """What is wrong with a loss, if what it reads is known."""
    if any(traced.values.get(id_) is None for id_ in node.sources):
        return
    if node.parameter and traced.names[node.of].get(node.parameter) not in traced.parameters:
        return  # (which `declare` reports)
    of = traced.values[node.of]
    assert of is not None
    read = {}
    for name, type in types_of_streams(node, of.type):
        read[name] = given[name] if name in given else input_value(name, type)
    try:
        with at(node.place):
            samples_of(node, traced, read)
    except (ShapeError, DTypeError) as error:
        yield _mismatch(node, of, read.get(node.target), error)


def _sums(metric: Any, loss: Any, x: Value, target: Value) -> Any:
    return metric.sums(x if loss is None else loss.loss.prediction(x), target, None)


def _try(
    node: Any, traced: Traced, given: Mapping[str, Value], loss: Any, compute: Callable[[Value, Value], Any]
) -> Iterator[Problem]:
    """What is wrong with a metric, if its node and its target are known."""
    x = traced.values.get(node.of)
    target = None if x is None else _target(node.target, traced, given, loss)
    if x is None or target is None:
        return
    try:
        with at(node.place):
            compute(x, stream_value(node.derive or node.target, {node.target: target}))
    except (ShapeError, DTypeError) as error:
        yield _mismatch(node, x, target, error)


def _target(name: str, traced: Traced, given: Mapping[str, Value], loss: Any) -> Value | None:
    """A stream that is compared with: an input, of the data, or what the loss that reads it expects."""
    if name in given:
        return given[name]
    of = None if loss is None else traced.values.get(loss.of)
    return None if of is None else input_value(*next(types_of_streams(loss, of.type)))


def _given(description: Description, traced: Traced, streams: Mapping[str, Any]) -> dict[str, Value]:
    """The inputs, and the streams of the data, as far as they are known."""
    inputs = {x.name: traced.values.get(x.name) for x in description.inputs}
    found = {
        name: input_value(name, batch_type(stream.shape, stream.dtype, CHECK_BATCH))
        for name, stream in streams.items()
    }
    return found | {name: value for name, value in inputs.items() if value is not None}


def _mismatch(node: Any, x: Value, target: Value | None, error: Exception) -> Problem:
    found = f"'{node.of}' is {x.shape[1:]}"
    if target is not None:
        found += f", '{node.target}' is {target.shape[1:]} {target.dtype}"
    return Problem(node.place.path, found, getattr(error, "reason", str(error)), "", node.place)


def count_memory(
    network: Network, backend: str, batch_size: int, streams: Mapping[str, Any] | None = None
) -> Memory:
    """What the programs of a network take for a batch size; ``network`` may be an outline."""
    engine = get(backend)
    known = {n: batch_type(s.shape, s.dtype, batch_size) for n, s in (streams or {}).items()}
    types = types_of(network, batch_size, _as_declared(network, known))
    inputs = {x.name: types[x.name] for x in network.description.inputs}
    predict = compile_graph(predict_graph(network, inputs), engine)
    held = _held(network)
    alone = _sum(held) + predict.arena + _beside(predict)
    parameters = _sum({name: t for name, t in held.items() if name != KEY})
    if not network.description.losses:
        workspace = min(predict.workspace, predict.arena)
        rest = alone - parameters - workspace
        return Memory(parameters, 0, 0, rest, workspace, alone, predict.arena, alone, predict.arena)
    step = train_step(network, types)
    parts = training_memory(network, step, compile_graph(step.graph, engine))
    return Memory(**parts, predict_total=alone, predict_arena=predict.arena)


def training_memory(network: Network, step: Step, plan: Plan) -> dict[str, int]:
    """What the program of a training step takes: the fields of `Memory` that speak of training."""
    held = _held(network)
    total = _sum(held | plan.states) + plan.arena + _beside(plan)
    parts = {
        "parameters": _sum({name: t for name, t in held.items() if name != KEY}),
        "gradients": sum(held[str(s)].nbytes for s in step.segments),
        "moments": _sum({n: t for n, t in plan.states.items() if n.startswith("segment(") and n not in held}),
    }
    parts["workspace"] = min(plan.workspace, plan.arena - parts["gradients"])
    parts["activations"] = total - sum(parts.values())
    return parts | {"total": total, "arena": plan.arena}


def _held(network: Network) -> dict[str, TensorType]:
    """What a network holds before it is trained: parameters, running statistics, the random key."""
    segments = {str(slot.segment) for slot in network.slots.values()}
    own = {KEY, *segments, *network.declared}
    return {name: t for name, t in network.store.types.items() if name in own}


def _as_declared(network: Network, streams: Mapping[str, TensorType]) -> dict[str, TensorType]:
    """The types of streams as a program takes them: an input has the dtype of the description."""
    dtypes = {x.name: dtype(x.dtype) for x in network.description.inputs}
    return {name: TensorType(t.shape, dtypes.get(name, t.dtype)) for name, t in streams.items()}


def _sum(types: Mapping[str, TensorType]) -> int:
    """The bytes of buffers of these types; the smallest buffer has one byte."""
    return sum(max(1, t.nbytes) for t in types.values())


def _beside(plan: Plan) -> int:
    """The bytes of a program's own buffers: what it reads, and constants."""
    inputs = sum(max(1, x.type.nbytes) for x in plan.inputs.values())
    constants = sum(max(1, int(array.nbytes)) for array in plan.constants.values())
    return plan.kept + inputs + constants
