"""Weights of Keras 1, Theano and cuDNN: what they compute stays what it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.keras.legacy import modern_weights
from cortex_core.exchange.keras.model import Layer, Weight

Arrays = list[np.ndarray]
RNG = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def modern(
    kind: str, arrays: Sequence[np.ndarray], version: str = "2.1.0", backend: str = "", **config: Any
) -> Arrays:
    """The arrays as Keras 3 has them; each has the shape that was told before it was read."""

    def weight(array: np.ndarray) -> Weight:
        return Weight("w", array.shape, "float32", lambda: array)

    layer = Layer("x", kind, config, ())
    found = modern_weights(layer, tuple(map(weight, arrays)), version, backend)
    read = [w.read() for w in found]
    assert [x.shape for x in read] == [w.shape for w in found]
    return read


def assert_equal(found: Arrays, expected: Arrays) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)


# Keras 1


def test_the_gates_of_keras_1() -> None:
    """An LSTM has W, U, b of the gates i, c, f, o there, and i, f, c, o side by side now."""
    gates = {gate: (drawn(3, 2), drawn(2, 2), drawn(2)) for gate in "icfo"}
    found = modern("LSTM", [x for gate in "icfo" for x in gates[gate]], "1.2.2")
    for part, array in enumerate(found):
        for place, gate in enumerate("ifco"):
            np.testing.assert_array_equal(array[..., 2 * place : 2 * place + 2], gates[gate][part])
    gates = {gate: (drawn(3, 2), drawn(2, 2), drawn(2)) for gate in "zrh"}
    found = modern("GRU", [x for gate in "zrh" for x in gates[gate]], "")
    for part, array in enumerate(found):
        np.testing.assert_array_equal(array, np.concatenate([gates[g][part] for g in "zrh"], -1))


def test_both_ways_of_a_bidirectional_layer_and_the_layer_of_every_step() -> None:
    inner = {"class_name": "LSTM", "config": {}}
    ways = [[drawn(*shape) for _ in range(4) for shape in ((3, 2), (2, 2), (2,))] for _ in range(2)]
    found = modern("Bidirectional", ways[0] + ways[1], "1.1.0", layer=inner)
    assert_equal(found, modern("LSTM", ways[0], "1.1.0") + modern("LSTM", ways[1], "1.1.0"))
    kernel, bias = drawn(5, 4, 3, 2), drawn(5)
    conv = {"class_name": "Conv2D", "config": {"data_format": "channels_first"}}
    expected = [kernel.transpose(2, 3, 1, 0), bias]
    assert_equal(modern("TimeDistributed", [kernel, bias], "1.1.0", layer=conv), expected)


def test_kernels_of_keras_1_lie_as_its_channels_do() -> None:
    kernel, bias = drawn(5, 4, 3, 2), drawn(5)  # of 5 filters over 4 channels, 3 high and 2 wide
    found = modern("Conv2D", [kernel, bias], "1.0", data_format="channels_first")
    assert found[0].shape == (3, 2, 4, 5)
    assert found[0][2, 1, 3, 0] == kernel[0, 3, 2, 1]
    last = [drawn(3, 2, 4, 5), bias]
    assert_equal(modern("Conv2D", last, "1.0", data_format="channels_last"), last)
    volume = drawn(5, 4, 3, 2, 1)
    assert modern("Conv3D", [volume], "1.0", data_format="channels_first")[0].shape == (3, 2, 1, 4, 5)
    assert_equal(modern("Conv2D", [kernel], "2.0.0", data_format="channels_first"), [kernel])


def test_a_transposed_convolution_of_keras_1_has_the_filters_last() -> None:
    first, last = drawn(5, 4, 3, 2), drawn(3, 2, 4, 5)
    (found,) = modern("Conv2DTranspose", [first], "1.2.0", data_format="channels_first")
    np.testing.assert_array_equal(found, first.transpose(2, 3, 0, 1))
    (found,) = modern("Conv2DTranspose", [last], "1.2.0", data_format="channels_last")
    np.testing.assert_array_equal(found, last.transpose(0, 1, 3, 2))


def test_both_kernels_of_a_separable_convolution() -> None:
    depth, point, bias = drawn(2, 4, 3, 3), drawn(5, 8, 1, 1), drawn(5)
    found = modern("SeparableConv2D", [depth, point, bias], "1.2.0", data_format="channels_first")
    assert_equal(found, [depth.transpose(2, 3, 1, 0), point.transpose(2, 3, 1, 0), bias])


def test_kernels_over_steps_have_an_axis_of_1() -> None:
    kernel, bias = drawn(3, 1, 4, 5), drawn(5)
    expected = [kernel[:, 0], bias]
    assert_equal(modern("Conv1D", [kernel, bias], "1.2.0", kernel_size=3, filters=5), expected)
    older = kernel.transpose(3, 2, 0, 1)  # before 1.1: as pictures with their channels first
    assert_equal(modern("Conv1D", [older, bias], "1.0", kernel_size=3, filters=5), expected)


def test_what_has_other_shapes_stays_as_it_is() -> None:
    for kind in ("Conv1D", "Conv2D", "LSTM", "Conv2DTranspose"):
        arrays = [drawn(2), drawn(3, 3)]
        assert_equal(modern(kind, arrays, "1.0", data_format="channels_first"), arrays)
    assert modern("LSTM", [], "1.0") == []
    assert modern("Bidirectional", [], "1.0", layer={"class_name": "LSTM", "config": {}}) == []


# Theano


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A convolution in the mathematical sense, as Theano computes it: NumPy's own over one axis."""
    return np.stack(
        [
            sum(np.convolve(x[:, c], kernel[:, c, f], "valid") for c in range(x.shape[1]))
            for f in range(kernel.shape[2])
        ],
        axis=-1,
    )


def correlated(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    steps = len(x) - len(kernel) + 1
    return np.stack([np.einsum("kc,kcf->f", x[i : i + len(kernel)], kernel) for i in range(steps)])


def test_what_theano_convolves_others_correlate_with_the_kernel_turned() -> None:
    x, kernel = drawn(9, 2), drawn(3, 2, 4)
    (turned,) = modern("Conv1D", [kernel], "2.0.8", "theano")
    np.testing.assert_allclose(correlated(x, turned), convolved(x, kernel), rtol=1e-5)
    assert_equal(modern("Conv1D", [kernel], "2.0.8", "tensorflow"), [kernel])
    assert_equal(modern("Dense", [kernel], "2.0.8", "theano"), [kernel])


def test_kernels_of_keras_1_on_theano_are_laid_out_and_turned() -> None:
    kernel = drawn(5, 4, 3, 2)
    found = modern("Conv2D", [kernel], "1.0", "theano", data_format="channels_first")
    assert_equal(found, [kernel[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)])
    depth, point = drawn(3, 3, 4, 2), drawn(1, 1, 8, 5)
    for kind, kernels in (("SeparableConv2D", [depth, point]), ("DepthwiseConv2D", [depth])):
        assert_equal(modern(kind, kernels, "2.2.4", "theano"), kernels)  # Keras turns them itself there


# cuDNN


def of_cudnn(flat: np.ndarray, units: int, gates: int, x: np.ndarray) -> np.ndarray:
    """What cuDNN computes for each gate: it reads the numbers of a gate as a matrix (units, inputs)."""
    parts = [part.reshape(-1).reshape(units, len(x)) @ x for part in np.split(flat, gates, axis=1)]
    return np.concatenate(parts)


def test_layers_of_cudnn_keep_each_gate_transposed_and_two_biases() -> None:
    for kind, gates in (("LSTM", 4), ("GRU", 3)):
        kernel, recurrent, bias = drawn(3, 2 * gates), drawn(2, 2 * gates), drawn(4 * gates)
        found = modern(kind, [kernel, recurrent, bias])
        x, h = drawn(3), drawn(2)
        np.testing.assert_allclose(x @ found[0], of_cudnn(kernel, 2, gates, x), rtol=1e-5)
        np.testing.assert_allclose(h @ found[1], of_cudnn(recurrent, 2, gates, h), rtol=1e-5)
        both = bias.reshape(2, -1)
        np.testing.assert_array_equal(found[2], both.sum(0) if kind == "LSTM" else both)


def test_a_layer_that_is_not_of_cudnn_stays_as_it_is() -> None:
    for kind, gates in (("LSTM", 4), ("GRU", 3)):
        arrays = [drawn(3, 2 * gates), drawn(2, 2 * gates), drawn(2 * gates)]
        assert_equal(modern(kind, arrays), arrays)
    after = [drawn(3, 6), drawn(2, 6), drawn(2, 6)]
    assert_equal(modern("GRU", after), after)
