"""A description becomes values: each layer's forward is run once over symbolic values.

Tracing is also how shapes are checked: a mistake becomes a `Problem` with the line of its layer, the layer's
value stays unknown, and what merely follows from it is not reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import DType, TensorType, float32
from cortex_core.graph.value import Value, input_value
from cortex_core.layers.expect import FLOATING
from cortex_core.layers.scope import Parameter, Scope, Variable
from cortex_core.ops.apply import at
from cortex_core.ops.array import Array
from cortex_core.ops.pointwise import cast
from cortex_core.ops.reduce import sum as total_of
from cortex_core.place import Problem
from cortex_core.registry import nearest

Declaration = Parameter | Variable
Fetch = Callable[[str, Declaration, Any], Value]


@dataclass
class Traced:
    """What a trace gives: the value of each id (None: unknown), what variables become, what went wrong.

    ``names`` says for each layer what its parameters and variables are called in the network; ``kept`` holds
    those of each loss, by its name.
    """

    values: dict[str, Value | None] = field(default_factory=dict)
    parameters: dict[str, Value] = field(default_factory=dict)
    variables: dict[str, Value] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    kept: dict[str, dict[str, Value]] = field(default_factory=dict)
    training: bool = False
    key: Value | None = None
    updates: dict[str, Value] = field(default_factory=dict)
    penalties: list[Value] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def trace(
    description: Any,
    inputs: Mapping[str, Value | None],
    fetch: Fetch,
    key: Value | None,
    training: bool,
    precision: DType = float32,
) -> Traced:
    """Runs every layer's forward.

    ``inputs`` holds a value with its batch axis for each input (None: unknown); ``fetch(name, declaration,
    layer)`` gives the value of a parameter or variable ("conv2d/kernel"); ``key`` is the random key.
    The layers compute in ``precision``: they see the inputs and all but the precise parameters cast to it.
    """
    given = {n: None if x is None else in_precision(x, precision) for n, x in inputs.items()}
    traced = Traced(values=dict(given), training=training, key=key)
    frozen = {node.id for node in description.layers if not node.trainable}
    for node in description.layers:
        if node.layer is None or any(traced.values.get(s) is None for s in node.sources):
            traced.values[node.id] = None
            continue
        try:
            with at(node.place):
                traced.values[node.id] = run_layer(node, node.holder in frozen, fetch, traced, precision)
        except (ShapeError, DTypeError) as error:
            traced.values[node.id] = None
            traced.problems.append(_problem(node, [traced.values[s] for s in node.sources], error))
    for node in description.losses:
        of = traced.values.get(node.of)
        if of is None or node.parameter or not hasattr(node.loss, "parameters"):
            continue
        try:
            with at(node.place):
                kept = fetched(node, node.loss.parameters(of.type), fetch, traced)
                traced.kept[node.name] = {d.name: value for d, value in kept}
        except (ShapeError, DTypeError) as error:
            needs = getattr(error, "reason", str(error))
            told = f"'{node.of}' is {of.shape[1:]}"
            traced.problems.append(Problem(node.place.path, told, needs, "", node.place))
    return traced


def fetched(
    node: Any, declared: Iterable[Declaration], fetch: Fetch, traced: Traced
) -> Iterator[tuple[Declaration, Value]]:
    """The value of each parameter and variable of a layer or a loss; what several share is fetched once."""
    for d in declared:
        name = node.name_of(d.name)
        held = traced.parameters if isinstance(d, Parameter) else traced.variables
        value = fetch(name, d, node)  # (which checks that those who share it agree)
        value = held.setdefault(name, value)
        yield d, traced.updates.get(name, value)


def in_precision(x: Value, precision: DType) -> Value:
    """A float32 value cast to ``precision``; any other as it is."""
    return cast(x, precision) if x.dtype is float32 and precision is not float32 else x


def run_layer(node: Any, frozen: bool, fetch: Fetch, traced: Traced, precision: DType) -> Value:
    values: dict[str, Any] = {}
    sources = [traced.values[s] for s in node.positional]
    names = traced.names[node.id] = {}
    for declared, value in fetched(node, declarations(node.layer, sources), fetch, traced):
        names[declared.name] = node.name_of(declared.name)
        if traced.training and getattr(declared, "carried", False):
            _check_carried(node.id, value.shape[0], declared.shape[0])
        narrow = isinstance(declared, Parameter) and not declared.precise
        values[declared.name] = in_precision(value, precision) if narrow else value

    def on_update(name: str, value: Value) -> None:
        traced.updates[node.name_of(name)] = value

    scope = Scope(dict(values), traced.training, node.id, traced.key, on_update, frozen=frozen)
    out, others = results_of(node.layer.forward(scope, *sources, **keywords_of(node, traced.values)))
    if not isinstance(out, Array):
        told = "nothing: it does not return" if out is None else f"a {type(out).__name__}"
        raise ShapeError(f"the forward of {node.kind} gives {told}; expected the layer's output")
    traced.values.update({f"{node.id}.{name}": value for name, value in others.items()})
    _penalties(node, traced)
    for constraint in node.constraints:
        if node.name_of(constraint.parameter) not in traced.parameters:
            form = f"{{NAME: {constraint.rule.kind}}}"
            problem = lacking(node.id, constraint.parameter, form, constraint.place, traced)
            traced.problems.append(problem)
    return out  # type: ignore[return-value]


def _check_carried(id_: str, kept: int, batch: int) -> None:
    """What a module keeps from batch to batch is there once for each example."""
    if kept != batch:
        told = f"'{id_}' keeps a state for each of {kept} examples"
        raise ShapeError(f"{told}; expected batches of as many (train.batch_size)")


def keywords_of(node: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the fields of a layer name, as the keywords of its forward."""
    return {
        name: values[ids] if isinstance(ids, str) else tuple(values[i] for i in ids)
        for name, ids in node.keywords
    }


def results_of(found: Any) -> tuple[Any, dict[str, Any]]:
    """What a forward returns: the layer's value, and what it gives beside it, by name."""
    return found if isinstance(found, tuple) else (found, {})


def _penalties(node: Any, traced: Traced) -> None:
    """Adds the penalties of a layer, and a problem for each that names no parameter of it."""
    for penalty in node.penalties:
        p: Any = traced.parameters.get(node.name_of(penalty.parameter))
        if p is None:
            form = f"{{NAME: {{{penalty.kind}: ...}}}}"
            traced.problems.append(lacking(node.id, penalty.parameter, form, penalty.place, traced))
        elif penalty.value:
            traced.penalties.append(penalty.value * total_of(abs(p) if penalty.kind == "l1" else p * p))


def lacking(id_: str, parameter: str, form: str, place: Any, traced: Traced) -> Problem:
    """That a layer has no parameter of that name; ``form`` shows how one is written, as NAME."""
    names = [n for n, name in traced.names.get(id_, {}).items() if name in traced.parameters]
    hint = nearest(parameter, names)
    some = f"expected {form.replace('NAME', ' or '.join(names))}" if names else "it has none"
    expected = "" if hint else some
    return Problem(place.path, f"'{id_}' has no parameter '{parameter}'", expected, hint, place)


def declarations(layer: Any, sources: list[Any]) -> Iterator[Declaration]:
    """The parameters and variables of a layer for sources of these types."""
    if hasattr(layer, "parameters"):
        yield from layer.parameters(*(s.type for s in sources))


def _problem(node: Any, sources: list[Any], error: Exception) -> Problem:
    """The shapes on both sides, by the names that the description uses."""
    shown = ", ".join(f"{name!r} is {s.shape[1:]}" for name, s in zip(node.sources, sources))
    path = node.place.path + (".from" if len(node.positional) > 1 else "")
    needs = getattr(error, "reason", str(error))
    other = [f"{x.dtype}" for x in sources if x.dtype.kind != "float"]
    of_an_op = needs == str(error) or hasattr(error, "place")  # which knows no layers, and would have a cast
    if isinstance(error, DTypeError) and of_an_op and other:
        needs = f"{node.kind} needs a floating type, not {other[0]}; {FLOATING}"
    return Problem(path, shown, needs, "", _at(node.place, path))


def _at(place: Any, path: str) -> Any:
    return type(place)(place.file, place.line, place.column, path)


FREE = 8
"""A length of an axis of any length."""


def has_free_axes(description: Any) -> bool:
    """Whether an input has an axis of any length."""
    return any(n is None for x in description.inputs for n in x.shape or ())


def input_values(description: Any, batch: int, free: int = FREE) -> dict[str, Value | None]:
    """A value for each input, None for one whose shape is not known."""
    return {
        x.name: None
        if x.shape is None
        else input_value(x.name, batch_type(x.shape, x.dtype, batch, free), x.place)
        for x in description.inputs
    }


def batch_type(shape: tuple[int | None, ...], dtype: Any, batch: int, free: int = FREE) -> TensorType:
    """The type of an input with its batch axis; an axis of any length gets ``free``."""
    from cortex_compute.types import dtype as named

    return TensorType((batch, *(free if n is None else n for n in shape)), named(dtype))
