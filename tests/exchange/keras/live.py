"""A living model as a reader gives it, until there are readers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_core.exchange.keras.model import Call, File, Layer, Model, Out, Weight
from tests.exchange.keras.peer import graph, is_model, ordered


def file_of(model: Any) -> File:
    import keras

    return File(keras.__version__, "jax", _model(model))


def _model(model: Any) -> Model:
    inner = graph(model)
    layers = tuple(_layer(x, inner) for x in inner.operations)
    return Model(model.name, layers, _outs(inner.inputs, inner), _outs(inner.outputs, inner))


def _layer(layer: Any, inner: Any) -> Layer:
    import keras

    config = _plain(keras.saving.serialize_keras_object(layer)["config"])
    calls = []
    for node in layer._inbound_nodes:
        if node in ordered(inner):
            args, keywords = (_named(x, inner) for x in (node.arguments.args, node.arguments.kwargs))
            calls.append(Call(tuple(args), {k: v for k, v in keywords.items() if v is not None}))
    nested = _model(layer) if is_model(layer) else None
    arrays = layer.get_weights() if hasattr(layer, "get_weights") and not nested else []
    weights = tuple(Weight("", x.shape, str(x.dtype), lambda x=x: np.asarray(x)) for x in arrays)
    return Layer(layer.name, type(layer).__name__, config, tuple(calls), weights, nested)


def _named(x: Any, inner: Any) -> Any:
    import keras

    if isinstance(x, keras.KerasTensor):
        return _outs([x], inner)[0]
    if isinstance(x, dict):
        return {k: _named(v, inner) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_named(v, inner) for v in x]
    return x


def _outs(tensors: Any, inner: Any) -> tuple[Out, ...]:
    found = []
    for x in tensors:
        history = x._keras_history
        nodes = [n for n in history.operation._inbound_nodes if n in ordered(inner)]
        number = nodes.index(history.operation._inbound_nodes[history.node_index]) if nodes else 0
        found.append(Out(history.operation.name, number, history.tensor_index))
    return tuple(found)


def _plain(x: Any) -> Any:
    """Configurations without the frames that say of which class each is, but for layers within."""
    if isinstance(x, dict):
        if x.get("class_name") == "DTypePolicy":
            return x["config"]["name"]
        if x.get("class_name") == "__tuple__":
            return [_plain(v) for v in x["items"]]
        return {k: _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    return x
