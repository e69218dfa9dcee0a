"""Arithmetic with given numbers, learned factors, means along axes, lengths of 1: worked values, and what is
told.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError, SpecError
from cortex_core.registry import LAYERS, fields_of
from tests.core.layers.use import Used

X = np.array([[[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]])


def layer(name: str, **fields: Any) -> Any:
    return LAYERS[name](**fields)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, X),
        ({"factor": 2}, 2 * X),
        ({"offset": 3}, X + 3),
        ({"factor": 1 / 127.5, "offset": -1}, X / 127.5 - 1),
        ({"factor": [1, 2, 3]}, X * [1, 2, 3]),
        ({"factor": [1, 2, 3], "offset": -1}, X * [1, 2, 3] - 1),
        ({"factor": 0.5, "offset": [1, 0, -1]}, 0.5 * X + [1, 0, -1]),
        ({"factor": [[2], [3]], "offset": [[1, 2, 3], [4, 5, 6]]}, X * [[2], [3]] + [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_scale(fields: dict[str, Any], wanted: np.ndarray) -> None:
    np.testing.assert_allclose(Used(layer("scale", **fields), X).y, wanted, rtol=1e-14)


def test_arrays_beside_an_axis_of_size_1() -> None:
    frequencies = np.array([1.0, 2.0, 4.0, 8.0])
    x = X[..., None]
    np.testing.assert_array_equal(Used(layer("scale", factor=frequencies.tolist()), x).y, x * frequencies)
    used = Used(layer("affine", shape=[4], center=False), x, values={"scale": frequencies})
    np.testing.assert_array_equal(used.y, x * frequencies)


def test_affine() -> None:
    gamma, beta = np.arange(6.0).reshape(2, 3), -np.ones((2, 3))
    used = Used(layer("affine", shape=[2, 3]), X, values={"scale": gamma, "shift": beta})
    np.testing.assert_array_equal(used.y, X * gamma + beta)
    used.output.sum().backward()
    np.testing.assert_array_equal(used.parameters["scale"].grad.numpy(), X[0])
    used = Used(layer("affine", shape=[2, 1], scale=False), X, values={"shift": beta[:, :1]})
    np.testing.assert_array_equal(used.y, X - 1)
    with pytest.raises(ShapeError, match=r"affine needs last axes that fit its numbers of shape \[4\]"):
        Used(layer("affine", shape=[4]), X)
    with pytest.raises(SpecError, match="neither scale nor center is true"):
        layer("affine", shape=[3], scale=False, center=False)


def test_long_arrays_with_faults_tell_the_first_ones() -> None:
    with pytest.raises(SpecError) as told:
        layer("scale", factor=[["x"] * 1000] * 1000)
    assert len(str(told.value)) < 5000
    with pytest.raises(SpecError, match="a list within 5 others"):
        layer("scale", factor=[[[[[[1]]]]]])
    assert layer_schema("scale", "factor")["anyOf"][1]["minItems"] == 1


def layer_schema(kind: str, field: str) -> Any:
    return fields_of(LAYERS[kind])[field].kind.schema()


def test_scale_says_what_it_cannot_take() -> None:
    for factor in ([1, 2], [[1, 2, 3]] * 3, [[[1, 2, 3], [4, 5, 6]]]):
        with pytest.raises(ShapeError, match="scale needs last axes that fit its factor of shape"):
            Used(layer("scale", factor=factor), X)
    for factor in ([[1, 2], [3]], [[1], 2], [], [[]], [[[[[[1]]]]]]):
        with pytest.raises(SpecError, match="expected a number, or lists of numbers, of one length"):
            layer("scale", factor=factor)
    with pytest.raises(SpecError, match=r"factor\.1\.0: .x. is text"):
        layer("scale", factor=[[1], ["x"]])
    with pytest.raises(DTypeError, match="scale needs a floating type"):
        Used(layer("scale", factor=2), np.ones((2, 3), np.int64))


def test_layer_scale_is_learned_and_small_at_first() -> None:
    used = Used(layer("layer_scale"), X)
    np.testing.assert_allclose(used.y, 1e-6 * X, rtol=1e-6)
    used = Used(layer("layer_scale"), X, values={"scale": np.array([1.0, 10.0, 100.0])})
    np.testing.assert_array_equal(used.y, X * [1, 10, 100])
    used.output.sum().backward()
    np.testing.assert_array_equal(used.parameters["scale"].grad.numpy(), [1.5, 2, 2])


@pytest.mark.parametrize("exponent", [2, 3, 0, -1, 1])
def test_power_of_any_number(exponent: int) -> None:
    np.testing.assert_allclose(Used(layer("power", exponent=exponent), X).y, X**exponent, rtol=1e-13)


def test_power_that_is_no_whole_number() -> None:
    np.testing.assert_allclose(Used(layer("power", exponent=0.5), X**2).y, abs(X), rtol=1e-13)


def test_clip() -> None:
    x = np.array([-3.0, -0.5, 0.0, 2.0, 9.0])
    for low, high in ((-1, 4), (0, None), (None, 3)):
        found = Used(layer("clip", minimum=low, maximum=high), x).y
        np.testing.assert_array_equal(found, np.clip(x, low, high))
    with pytest.raises(SpecError, match="neither a minimum nor a maximum"):
        layer("clip")
    with pytest.raises(SpecError, match="2 is above the maximum"):
        layer("clip", minimum=2, maximum=1)


def test_truths_and_whole_numbers_as_floating_ones() -> None:
    found = Used(layer("cast"), np.array([[True, False]])).y
    np.testing.assert_array_equal(found, [[1, 0]])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(Used(layer("cast"), np.array([[7, -3]])).y, [[7, -3]])
    assert Used(layer("cast"), X).y.dtype == np.float64


def test_means_and_sums_along_axes() -> None:
    np.testing.assert_allclose(Used(layer("mean", axes=[1]), X).y, [[0.75, 1, 1]])
    np.testing.assert_allclose(
        Used(layer("mean", axes=[1, 2], keepdims=True), X).y, np.full((1, 1, 1), 5.5 / 6)
    )
    np.testing.assert_allclose(Used(layer("sum", axes=[2]), X).y, [[2, 3.5]])
    with pytest.raises(ShapeError, match="sum has no axis 3 to go along"):
        Used(layer("sum", axes=[3]), X)
    with pytest.raises(SpecError, match="expected axes, each of them once"):
        layer("mean", axes=[1, 1])


def test_vectors_of_length_1() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(Used(layer("unit_norm"), x).y, np.array([[0.6, 0.8], [0, 0]]), rtol=1e-14)
    along = Used(layer("unit_norm", axis=1), X).y
    np.testing.assert_allclose(along, X / np.sqrt((X * X).sum(1, keepdims=True)), rtol=1e-14)
    for axis in (0, 3, -3):
        with pytest.raises(ShapeError, match=f"unit_norm has no axis {axis} to sum along"):
            Used(layer("unit_norm", axis=axis), X)


def test_layer_norm_and_rms_norm_of_two_axes() -> None:
    rng = np.random.default_rng(0)
    x, scale, shift = rng.normal(size=(4, 2, 3, 5)), rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    wanted = (x - mean) / np.sqrt(variance + 0.01) * scale + shift
    given = {"scale": scale, "shift": shift}
    used = Used(layer("layer_norm", axes=2, epsilon=0.01), x, values=given)
    np.testing.assert_allclose(used.y, wanted, rtol=1e-10)
    square = (x * x).mean((2, 3), keepdims=True)
    used = Used(layer("rms_norm", axes=2), x, values=given)
    np.testing.assert_allclose(used.y, x / np.sqrt(square + 1e-6) * scale, rtol=1e-10)
    with pytest.raises(ShapeError, match="layer_norm needs at least 2 axes"):
        Used(layer("layer_norm", axes=2), x[:, 0, 0])


@pytest.mark.peers
def test_layer_norm_of_two_axes_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).normal(size=(4, 2, 3, 5))
    theirs = torch.nn.functional.layer_norm(torch.tensor(x), (3, 5)).numpy()
    np.testing.assert_allclose(Used(layer("layer_norm", axes=2), x).y, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["log", "log1p", "expm1", "sin", "cos"])
def test_functions_of_each_element(name: str) -> None:
    x = abs(X)
    found = Used(layer("elementwise", function=name), x).y
    np.testing.assert_allclose(found, getattr(np, name)(x), rtol=1e-14)
    with pytest.raises(DTypeError, match="elementwise needs a floating type"):
        Used(layer("elementwise", function=name), np.ones((2, 3), np.int64))


def test_the_integral_of_errors() -> None:
    erf = np.vectorize(math.erf)(X)
    np.testing.assert_allclose(Used(layer("elementwise", function="erf"), X).y, erf, rtol=1e-12)
    with pytest.raises(SpecError, match="expected cos, erf, expm1, log, log1p or sin"):
        layer("elementwise", function="exp")


def test_shortest_vectors_of_length_1() -> None:
    x = np.array([[[3.0, 4.0], [0.3, 0.4]]])
    found = Used(layer("unit_norm", shortest=1), x).y
    np.testing.assert_allclose(found, [[[0.6, 0.8], [0.3, 0.4]]], rtol=1e-14)


def test_vectors_that_are_shorter_than_32_bits_tell() -> None:
    """The square of the shortest length is a number of float32."""
    x = np.array([[0.0, 0.0], [3e-18, 4e-18]], np.float32)
    found = Used(layer("unit_norm", shortest=1e-18), x).y
    np.testing.assert_allclose(found, [[0, 0], [0.6, 0.8]], rtol=1e-5)
    for shortest, told in ((1e-23, "1e-23 is too small"), (1e300, "too large: expected a number, at least")):
        with pytest.raises(SpecError, match=told):
            layer("unit_norm", shortest=shortest)
