"""What Keras does with a model: weights that matter, statistics that suit them, and every layer's values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Results = dict[tuple[str, int, int], np.ndarray]
"""What layers give: by the path of the layer (``outer/inner``), which of its calls, which of its values."""

Found = dict[str, dict[tuple[int, ...], list[Any]]]
"""The same, by path and by the calls of the models around and of the layer itself."""


def draw_weights(model: Any, rng: np.random.Generator) -> None:
    """Weights at random, so that no value fades away or overflows on its way through many layers."""
    for variable in model.variables:
        if np.issubdtype(np.dtype(variable.dtype), np.floating):
            variable.assign(_drawn(variable.path.rpartition("/")[2], variable.shape, rng))
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):  # of preprocessing: what it computes from its weights
            layer.finalize_state()


def _drawn(name: str, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    found = rng.normal(size=shape)
    if "variance" in name:
        return np.abs(found) + 0.5
    if name == "gamma":  # below 1: what many layers one behind the other leave of rounding does not grow
        return 0.5 + 0.1 * found
    if name == "scale":
        return 1 + 0.2 * found
    if len(shape) < 2:
        return (0.5 if name == "beta" else 0.3) * found
    return found * np.sqrt(2 / np.prod(shape[:2] if "depthwise" in name else shape[:-1]))


def results(
    model: Any, inputs: Sequence[Any], settled: bool = False, calmed: float = 1.0
) -> tuple[list[np.ndarray], Results]:
    """The outputs of a model in prediction, and what each of its layers gives.

    ``settled``: batch norms first take the statistics of what comes to them, as after training; with a larger
    ``calmed`` their variances are larger, so that less of rounding is magnified.

    All layers are one program: to compile one for each operation takes several times as long.
    """
    import jax
    import keras

    variables = model.variables

    def run(values: list[Any], inputs: Sequence[Any]) -> tuple[list[Any], Found, list[Any]]:
        found: Found = {}
        with keras.StatelessScope(state_mapping=[*zip(variables, values)]) as scope:
            outputs = _walk(model, inputs, _settling(calmed) if settled else _called, "", (), found)
        return outputs, found, [scope.get_current_value(x) for x in variables]

    quickly = {"xla_backend_optimization_level": 0}  # to compile is what takes long
    program = jax.jit(run, compiler_options=quickly)
    outputs, found, values = program([x.value for x in variables], [*inputs])
    for variable, value in zip(variables, values if settled else ()):
        variable.assign(value)
    named = {
        (path, call, index): np.asarray(array)
        for path, calls in found.items()
        for call, number in enumerate(sorted(calls))
        for index, array in enumerate(calls[number])
    }
    return [np.asarray(x) for x in outputs], named


def _called(layer: Any, args: Any, keywords: Any) -> Any:
    return layer(*args, **keywords)


def _settling(calmed: float) -> Callable[..., Any]:
    """How a layer is called where batch norms take the statistics of the batch, of their first call.

    The variances are larger by ``calmed`` times their mean over the channels: at the end of a network a
    channel has so few values in a batch that it may hardly vary, and dividing by that would blow up what
    rounding has left.
    """
    known = set[int]()

    def run(layer: Any, args: Any, keywords: Any) -> Any:
        if type(layer).__name__ == "BatchNormalization" and id(layer) not in known:
            known.add(id(layer))
            x = args[0]
            axes = tuple(i for i in range(x.ndim) if i != layer.axis % x.ndim)
            variance = x.var(axes)
            layer.moving_mean.assign(x.mean(axes))
            layer.moving_variance.assign(variance + calmed * variance.mean())
        return layer(*args, **keywords)

    return run


def _walk(
    model: Any,
    inputs: Sequence[Any],
    run: Callable[..., Any],
    prefix: str,
    calls: tuple[int, ...],
    found: Found,
) -> list[Any]:
    """Runs a model layer by layer, nested models too; ``calls`` count those of the models around."""
    import keras

    inner = graph(model)
    values = dict(zip(map(id, inner.inputs), inputs))
    for node, number in _nodes(inner):
        layer = node.operation
        path, numbers = prefix + layer.name, (*calls, number)
        args, keywords = node.arguments.fill_in(values)
        if is_model(layer):
            given = _walk(layer, keras.tree.flatten(args), run, f"{path}/", numbers, found)
        else:
            given = keras.tree.flatten(run(layer, args, keywords))
        values.update(zip(map(id, node.outputs), given))
        if isinstance(model, keras.Sequential) and not isinstance(layer, keras.Layer):
            continue  # it makes a mask: a file has the layers of such a model alone
        found.setdefault(path, {})[numbers] = given
    return [values[id(x)] for x in inner.outputs]


def graph(model: Any) -> Any:
    """What of a model holds the calls of its layers."""
    return getattr(model, "_functional", None) or model


def is_model(layer: Any) -> bool:
    return hasattr(graph(layer), "_nodes_by_depth")


def _nodes(inner: Any) -> Iterator[tuple[Any, int]]:
    """The calls of a model's layers, each behind those that it takes from; and which of its layer it is."""
    nodes = ordered(inner)
    known = set(nodes)
    for node in nodes:
        yield node, [x for x in node.operation._inbound_nodes if x in known].index(node)


def ordered(inner: Any) -> list[Any]:
    """The calls that belong to a model, each behind those that it takes from."""
    depths = inner._nodes_by_depth
    return [x for depth in sorted(depths, reverse=True) for x in depths[depth] if not x.is_input]
