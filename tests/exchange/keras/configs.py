"""Configurations as the versions of Keras write them, by hand, for tests."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def entry(kind: str, name: str, *nodes: Any, **config: Any) -> Json:
    """A layer of a graph."""
    own = {"class_name": kind, "name": name, "config": {"name": name, **config}}
    return {**own, "inbound_nodes": [*nodes]}


def new_entry(kind: str, name: str, *nodes: Any, module: Any = "keras.layers", **config: Any) -> Json:
    """A layer of a graph of Keras 3."""
    return {"module": module, "registered_name": None, **entry(kind, name, *nodes, trainable=True, **config)}


def graph(layers: list[Json], inputs: Any, outputs: Any, kind: str = "Model", name: str = "model_1") -> Json:
    config = {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": kind, "config": config}


def given(name: str = "a", *shape: Any) -> Json:
    """An input of Keras 2."""
    return entry(
        "InputLayer", name, batch_input_shape=[None, *(shape or (4,))], dtype="float32", sparse=False
    )


def new_given(name: str = "a", *shape: Any) -> Json:
    """An input of Keras 3."""
    return new_entry("InputLayer", name, batch_shape=[None, *(shape or (4,))], dtype="float32")


def tensor(layer: str, call: int = 0, index: int = 0) -> Json:
    history = [layer, call, index]
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": history}}


def node(*args: Any, **keywords: Any) -> Json:
    """A call in Keras 3."""
    return {"args": [*args], "kwargs": keywords}


def sequential(*layers: Json, **config: Any) -> Json:
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": [*layers], **config}}


def listed(kind: str, **config: Any) -> Json:
    """A layer of a Sequential model."""
    return {"class_name": kind, "config": config}
