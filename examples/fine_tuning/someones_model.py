"""Makes a file such as somebody with Keras leaves: a classifier of digits that prepares its pictures itself.

Cortex trains it, and h5py writes it as tf.keras 2 does: JSON says what its layers are and how it was
compiled, and there is an array for each weight.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import cortex

NORM = {"momentum": 0.9, "epsilon": 1e-5}
FIRST, SECOND = {"filters": 16, "padding": "same"}, {"filters": 32, "padding": "same"}
WINDOW = {"kernel_size": [3, 3], "strides": [1, 1]}
# The name of a layer, the layer here, its class in Keras, and its fields there.
LAYERS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("prepared", {"scale": {"factor": 1 / 16}}, "Rescaling", {"scale": 1 / 16, "offset": 0.0}),
    ("conv_1", {"conv2d": {**FIRST, "kernel": 3}}, "Conv2D", {**FIRST, **WINDOW}),
    ("norm_1", {"batch_norm": NORM}, "BatchNormalization", NORM),
    ("relu_1", {"relu": {}}, "ReLU", {}),
    ("pool", {"max_pool2d": {"size": 2}}, "MaxPooling2D", {"pool_size": [2, 2]}),
    ("conv_2", {"conv2d": {**SECOND, "kernel": 3}}, "Conv2D", {**SECOND, **WINDOW}),
    ("norm_2", {"batch_norm": NORM}, "BatchNormalization", NORM),
    ("relu_2", {"relu": {}}, "ReLU", {}),
    ("mean", {"global_avg_pool2d": {}}, "GlobalAveragePooling2D", {}),
    ("digit", {"dense": {"units": 10}}, "Dense", {"units": 10, "activation": "softmax"}),
]
WEIGHTS = {"kernel": "kernel", "bias": "bias", "scale": "gamma", "shift": "beta"}
WEIGHTS |= {"moving_mean": "moving_mean", "moving_variance": "moving_variance"}
COMPILED = {
    "loss": "sparse_categorical_crossentropy",
    "loss_weights": None,
    "metrics": ["accuracy"],
    "optimizer_config": {"class_name": "Adam", "config": {"learning_rate": 0.001}},
}


def write(path: str | Path, pictures: np.ndarray, digits: np.ndarray) -> cortex.Network:
    """Trains on pictures (n, 8, 8, 1), 0 to 16, writes the file, and returns what it was made of."""
    network = _trained(pictures, digits)
    start = ("image", {}, "InputLayer", {"batch_input_shape": [None, *pictures.shape[1:]]})
    layers = [
        {"class_name": kind, "config": {"name": name, **own}} for name, _, kind, own in (start, *LAYERS)
    ]
    model = {"class_name": "Sequential", "config": {"name": "digits", "layers": layers}}
    with h5py.File(path, "w") as file:
        file.attrs.update(model_config=json.dumps(model), training_config=json.dumps(COMPILED))
        root = file.create_group("model_weights")
        for group in (file, root):
            group.attrs.update(keras_version="2.9.0", backend="tensorflow")
        root.attrs["layer_names"] = [name.encode() for name, *_ in LAYERS]
        numbers = {**network.parameters, **network.variables}
        for name, *_ in LAYERS:
            own = {f"{name}/{theirs}:0": numbers.get(f"{name}/{ours}") for ours, theirs in WEIGHTS.items()}
            own = {there: array for there, array in own.items() if array is not None}
            root.create_group(name).attrs["weight_names"] = [there.encode() for there in own]
            for there, array in own.items():
                root[name][there] = array
    return network


def _trained(pictures: np.ndarray, digits: np.ndarray) -> cortex.Network:
    description = {
        "inputs": {"image": list(pictures.shape[1:])},
        "layers": [
            {kind: {**fields, "id": name}} for name, layer, *_ in LAYERS for kind, fields in layer.items()
        ],
        "loss": {"softmax_cross_entropy": {"of": "digit", "target": "target"}},
        "train": {"optimizer": {"adam": {"learning_rate": 0.01}}, "batch_size": 32, "epochs": 8},
    }
    data = {"image": pictures, "target": digits}
    return cortex.train(description, data, out="runs/digits", progress=False, report=False).network
