"""Pointwise, merging and normalising layers, and operations: what Keras gives, from both formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.exchange.keras.support import check_layers, check_model

pytestmark = pytest.mark.peers
keras = pytest.importorskip("keras")

NAMES = [
    *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh"),
    *("leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid"),
    *("silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid"),
    *("squareplus", "tanh", "tanh_shrink"),
]


def L(name: str, *args: Any, **fields: Any) -> Any:
    return getattr(keras.layers, name)(*args, **fields)


def test_activations_by_name_as_layers_and_as_fields() -> None:
    def call(x: Any) -> Any:
        made = [L("Activation", name)(x) for name in NAMES]
        inner = [L("Dense", 3, activation=name)(x) for name in NAMES]
        return L("Concatenate")([*made, *inner])

    check_layers(None, (5, 4), call=call)


def test_activations_as_layers() -> None:
    layers: list[tuple[str, dict[str, Any]]] = [
        ("ReLU", {}),
        ("ReLU", {"max_value": 6.0}),
        ("ReLU", {"max_value": 0.8, "negative_slope": 0.2, "threshold": 0.3}),
        ("ReLU", {"negative_slope": 0.2}),
        ("ReLU", {"threshold": 0.5}),
        ("LeakyReLU", {"negative_slope": 0.1}),
        ("LeakyReLU", {}),
        ("ELU", {"alpha": 0.6}),
        ("Softmax", {}),
        ("Softmax", {"axis": 1}),
        ("PReLU", {}),
        ("PReLU", {"shared_axes": [1]}),
        ("PReLU", {"shared_axes": [2]}),
        ("PReLU", {"shared_axes": [1, 2]}),
        ("Activation", {"activation": L("LeakyReLU", negative_slope=0.05)}),
    ]
    check_layers(None, (5, 4), call=lambda x: L("Concatenate")([L(n, **f)(x) for n, f in layers]))


def test_dense_over_sequences_and_einsum_dense() -> None:
    check_layers([L("Dense", 5, use_bias=False), L("Dense", 3, activation="softmax")], (None, 4))
    forms = [
        ("abc,cde->abde", (None, 2, 3), "de"),
        ("abc,cd->abd", (None, 5), "d"),
        ("...x,xy->...y", (3,), "y"),
    ]
    made = [L("EinsumDense", e, output_shape=s, bias_axes=b) for e, s, b in forms]
    heads = L("EinsumDense", "aecd,dcf->aef", output_shape=(None, 6), activation="relu")
    joined = L("EinsumDense", "abc,cde->abde", output_shape=(None, 2, 3), activation="softmax")

    def call(x: Any) -> Any:
        inner = made[0](x)
        return [heads(inner), made[1](x), made[2](x), joined(x)]

    check_layers(None, (5, 4), call=call)


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_merging(name: str) -> None:
    def call(a: Any, b: Any, c: Any, d: Any) -> Any:
        found = [L(name)([a, b]), L(name)([a, c]), L(name)([d, a])]
        return [*found, L(name)([a, b, c])] if name != "Subtract" else found

    check_layers(None, (3, 4, 2), (3, 4, 2), (3, 1, 2), (4, 2), call=call)


def test_joining_and_inner_products() -> None:
    def call(a: Any, b: Any) -> Any:
        return [
            L("Concatenate")([a, a, L("Dense", 2)(b)]),
            L("Concatenate", axis=1)([a, b]),
            L("Concatenate", axis=-2)([a, b]),
            L("Dot", axes=-1)([a, b]),
            L("Dot", axes=(1, 1))([a, b]),
            L("Dot", axes=(2, 1), normalize=True)([a, L("Permute", (2, 1))(b)]),
            L("Dot", axes=1, normalize=True)([L("Flatten")(a), L("Flatten")(b)]),
        ]

    check_layers(None, (3, 4), (3, 4), call=call)


NORMS: dict[str, list[dict[str, Any]]] = {
    "BatchNormalization": [{}, {"axis": 1}, {"axis": 2}, {"scale": False}, {"center": False, "epsilon": 0.1}],
    "LayerNormalization": [
        {}, {"axis": 1}, {"axis": 2}, {"axis": [1, 2, 3]}, {"axis": [2, 3]}, {"axis": [1, 3]},
        {"scale": False}, {"center": False, "epsilon": 0.1},
    ],
    "GroupNormalization": [{"groups": 2}, {"groups": -1}, {"groups": 1}, {"groups": 2, "axis": 2}],
    "RMSNormalization": [{}, {"epsilon": 0.1}, {"axis": [2, 3]}],
    "UnitNormalization": [{}, {"axis": 1}, {"axis": [2]}],
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_normalising(name: str) -> None:
    check_layers(None, (3, 2, 4), call=lambda x: [L(name, **fields)(x) for fields in NORMS[name]])


def test_spectral_normalization_predicts_with_the_kernel_of_the_file() -> None:
    check_layers([L("SpectralNormalization", L("Dense", 3)), L("Dense", 2)], (4,))


def test_what_only_training_does() -> None:
    layers = [
        L("Dense", 6),
        L("Dropout", 0.3),
        L("Dropout", 0.3, noise_shape=(None, 1, 6)),
        L("Dropout", 0.3, noise_shape=(None, 1, 1)),
        L("SpatialDropout1D", 0.2),
        L("GaussianNoise", 0.2),
        L("GaussianDropout", 0.2),
        L("AlphaDropout", 0.2),
        L("ActivityRegularization", l1=0.1),
        L("Identity"),
        L("Dense", 3),
    ]
    check_layers(layers, (5, 4))


def test_arithmetic_that_prepares_data() -> None:
    layers = [
        L("Rescaling", 1 / 127.5, offset=-1.0),
        L("Rescaling", [1.0, 2.0, 0.5], offset=[0.0, 1.0, -1.0]),
        L("Normalization", mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 0.25]),
        L("Normalization", axis=None, mean=0.1, variance=0.25),
        L("Normalization", mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 0.25], invert=True),
    ]
    check_layers(layers, (4, 3), scale=100.0)


def test_normalization_as_it_was_adapted() -> None:
    layer = L("Normalization")
    layer.adapt(np.random.default_rng(0).normal(3, 2, (50, 3)))
    model = keras.Sequential([keras.Input((3,)), layer, L("Dense", 2)])
    check_model(model)


OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "numbers": lambda ops, x, y: [x + 3.0, 3.0 - x, x * (1.0 / 6.0), -x, x / 4, x - 1, 2 * x],
    "values": lambda ops, x, y: [x + y, x - y, x * y, ops.maximum(x, y), ops.minimum(x, y)],
    "quotients": lambda ops, x, y: [x / (ops.exp(y) + 1), 1.0 / (ops.exp(x) + 1)],
    "powers": lambda ops, x, y: [x**2, ops.sqrt(ops.square(x) + 1), ops.rsqrt(ops.square(x) + 1)],
    "bounds": lambda ops, x, y: [
        ops.clip(x, -0.5, 0.7), ops.maximum(x, 0.2), ops.minimum(0.2, x), ops.abs(x),
    ],
    "activations": lambda ops, x, y: [
        ops.relu(x), ops.relu6(x), ops.sigmoid(x), ops.tanh(x), ops.softmax(x), ops.softmax(x, axis=1),
        ops.silu(x), ops.gelu(x), ops.gelu(x, approximate=False), ops.leaky_relu(x, 0.1), ops.elu(x, 0.5),
        ops.hard_sigmoid(x), ops.hard_silu(x), ops.log_softmax(x), ops.softplus(x), ops.celu(x, 0.5),
    ],
    "along axes": lambda ops, x, y: [
        ops.mean(x, axis=1), ops.mean(x, axis=[1, 2], keepdims=True), ops.sum(x, axis=-1),
        ops.concatenate([x, y], axis=-1), ops.concatenate([x, y], axis=1),
    ],
    "numbers of each channel": lambda ops, x, y: [x * np.arange(4.0), x + np.ones((1, 4), "float32")],
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    check_layers(None, (3, 4), (3, 4), call=lambda x, y: [*OPERATIONS[name](keras.ops, x, y), x * y])
