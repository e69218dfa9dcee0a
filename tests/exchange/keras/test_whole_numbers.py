"""Inputs of whole numbers: cast where Keras casts them, and refused where Keras would wrap them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from tests.exchange.keras.support import check_model

pytestmark = pytest.mark.peers
keras = pytest.importorskip("keras")
L, ops = keras.layers, keras.ops

Call = Callable[..., Any]
SHAPE = (4, 3)


def made(call: Call, dtype: str, shape: tuple[int, ...] = SHAPE) -> tuple[Any, list[np.ndarray]]:
    x = keras.Input(shape, dtype=dtype)
    info = np.iinfo(dtype)
    high = min(info.max, 1000)
    drawn = np.random.default_rng(0).integers(max(info.min, -high), high, (3, *shape), endpoint=True)
    return keras.Model(x, call(x)), [drawn.astype(dtype)]


def beside_floats(kind: str) -> Call:
    return lambda x: getattr(L, kind)()([x, L.Dense(3)(ops.cast(x, "float32") / 50)])


CAST: dict[str, Call] = {
    "rescaling": lambda x: L.Rescaling(1 / 255, offset=0.5)(x),
    "rescaling by whole numbers": lambda x: L.Rescaling(2, offset=-300)(x),
    "normalization": lambda x: L.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 9.0, 1.0])(x),
    "dense": lambda x: L.Dense(2)(x),
    "convolution": lambda x: L.Conv1D(2, 2)(x),
    "batch norm": lambda x: L.BatchNormalization()(x),
    "concatenate": beside_floats("Concatenate"),
    "add": beside_floats("Add"),
    "half": lambda x: x * 0.5 + 1,
    "division": lambda x: x / 2,
    "division by itself": lambda x: x / (x / 4 + 2000.0),
    "mean": lambda x: ops.mean(x, axis=1),
    "cast": lambda x: ops.multiply(ops.cast(x, "float32"), ops.cast(x, "float32")),
}


@pytest.mark.parametrize("dtype", ["int32", "uint32", "uint8", "int8"])
@pytest.mark.parametrize("name", CAST)
def test_what_keras_casts(name: str, dtype: str) -> None:
    model, inputs = made(CAST[name], dtype)
    check_model(model, inputs=inputs, formats=["keras"])


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_numbers_that_float32_does_not_hold(dtype: str, tmp_path: Path) -> None:
    x = keras.Input(SHAPE, dtype=dtype)
    model = keras.Model(x, ops.cast(ops.equal(x, 2**24 + 1), "float32"))
    given = (2**24 + np.arange(24).reshape(2, *SHAPE) % 3).astype(dtype)
    model.save(tmp_path / "m.keras")
    found = cortex.from_keras(tmp_path / "m.keras").predict(given)
    np.testing.assert_array_equal(found, model.predict(given, verbose=0))
    np.testing.assert_array_equal(found, given == 2**24 + 1)


KEPT: dict[str, Call] = {
    "the rest to 255": lambda x: L.Rescaling(1 / 255)(255 - x),
    "moved": lambda x: L.Dense(2)(L.Flatten()(L.Permute((2, 1))(L.ZeroPadding1D(1)(x)))),
    "joined": lambda x: L.Rescaling(0.1)(L.Concatenate()([x, L.Maximum()([x, 255 - x])])),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_the_same_in_narrow_whole_numbers(name: str) -> None:
    model, inputs = made(KEPT[name], "uint8")
    check_model(model, inputs=inputs, formats=["keras"])


WRAPS: dict[str, Call] = {
    "squared": lambda x: L.Dense(2)(L.Multiply()([x, x])),
    "shifted": lambda x: L.Dense(2)(ops.cast(x - 100, "float32")),
    "doubled": lambda x: L.Add()([x, x]),
    "doubled behind others": lambda x: L.Add()([L.Flatten()(x), L.Flatten()(x)]),
    "twice": lambda x: x * 2,
    "power": lambda x: ops.square(x),
    "sum": lambda x: ops.sum(x, axis=1),
    "negative": lambda x: -x,
}


@pytest.mark.parametrize("name", WRAPS)
def test_what_wraps_is_refused(name: str) -> None:
    model, inputs = made(WRAPS[name], "uint8")
    with pytest.raises(SpecError, match=r"of uint8.* Keras .*cast or rescale the value before it"):
        check_model(model, inputs=inputs, formats=["keras"])


def test_sizes_between_narrow_whole_numbers_are_refused() -> None:
    nearest, inputs = made(lambda x: L.Rescaling(0.1)(L.Resizing(3, 5, "nearest")(x)), "uint8", (4, 4, 2))
    check_model(nearest, inputs=inputs, formats=["keras"])
    bilinear, inputs = made(lambda x: L.Resizing(3, 5)(x), "uint8", (4, 4, 2))
    with pytest.raises(SpecError, match="resize2d of uint8"):
        check_model(bilinear, inputs=inputs, formats=["keras"])
