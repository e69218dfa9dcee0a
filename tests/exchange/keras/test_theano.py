"""Margins of Keras on Theano go by the size of a window alone; what is called `same` by its stride too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from tests.exchange.keras.handmade import save_named

RNG = np.random.default_rng(6)
X = RNG.normal(size=(2, 9, 8, 3)).astype(np.float32)
KERNEL = RNG.normal(size=(4, 3, 3, 5)).astype(np.float32)


def predicted(
    path: Path,
    kind: str,
    kernel: np.ndarray | None = None,
    x: np.ndarray = X,
    version: str = "2.2.4",
    **fields: Any,
) -> np.ndarray:
    """What a model of one layer gives whose file says that it ran on Theano."""
    own = {"name": "x", "padding": "same", "batch_input_shape": [None, *x.shape[1:]], **fields}
    if kernel is not None:
        own |= {"kernel_size": [*kernel.shape[:-2]], "activation": "linear", "use_bias": False}
    config = {"class_name": "Sequential", "config": [{"class_name": kind, "config": own}]}
    arrays = {"x": [] if kernel is None else [("x/kernel:0", kernel)]}
    save_named(path, arrays, config, version)
    with h5py.File(path, "r+") as file:
        for place in (file, file["model_weights"]):
            place.attrs["backend"] = b"theano"
    found: np.ndarray = cortex.from_keras(path).predict(x)
    return found


def windows(
    x: np.ndarray, sizes: tuple[int, ...], steps: tuple[int, ...], around: tuple[int, ...], fill: float
) -> np.ndarray:
    """Those that begin inside, with this margin on all sides: (B, H', W', C, rows, columns)."""
    margins = [(0, 0), *((n, n) for n in around), (0, 0)]
    padded = np.pad(x.astype(np.float64), margins, constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(padded, sizes, axis=(1, 2))[:, :: steps[0], :: steps[1]]
    high, wide = (-(-n // s) for n, s in zip(x.shape[1:3], steps))
    return found[:, :high, :wide]


def of_convolution(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n // 2 for n in sizes)


@pytest.mark.parametrize("steps", [(1, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("sizes", [(3, 3), (4, 3), (1, 2)])
def test_convolutions(tmp_path: Path, sizes: tuple[int, int], steps: tuple[int, int]) -> None:
    kernel = KERNEL[: sizes[0], : sizes[1]]
    found = predicted(tmp_path / "m.h5", "Conv2D", kernel, filters=5, strides=[*steps])
    inside = windows(X, sizes, steps, of_convolution(sizes), 0)
    right = np.einsum("nhwcrs,rsco->nhwo", inside, kernel[::-1, ::-1])
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [(1, 1), (2, 2), (2, 3)])
def test_transposed_convolutions(tmp_path: Path, steps: tuple[int, int]) -> None:
    """Half a window is cut off before the first element."""
    kernel, x = KERNEL[:3, :3], RNG.normal(size=(2, 5, 4, 5)).astype(np.float32)  # 5 channels become 3
    found = predicted(tmp_path / "m.h5", "Conv2DTranspose", kernel, x, filters=3, strides=[*steps])
    turned = kernel[::-1, ::-1].astype(np.float64)
    high, wide = (n * s for n, s in zip(x.shape[1:3], steps))
    out = np.zeros((2, high + 3, wide + 3, 3))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            a, b = i * steps[0], j * steps[1]
            out[:, a : a + 3, b : b + 3] += np.einsum("nc,rsoc->nrso", x[:, i, j], turned)
    np.testing.assert_allclose(found, out[:, 1 : 1 + high, 1 : 1 + wide], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize(("sizes", "around"), [((3, 3), (1, 1)), ((2, 4), (1, 3)), ((5, 1), (3, 0))])
@pytest.mark.parametrize("version", ["2.0.3", "2.0.4", "2.1.4", "2.1.5"])
def test_pooling(
    tmp_path: Path, sizes: tuple[int, int], around: tuple[int, int], steps: tuple[int, int], version: str
) -> None:
    """Keras asks Theano for n - 1 around, n - 2 where n is odd.  For a time its means counted zeros."""
    how = {"pool_size": [*sizes], "strides": [*steps], "version": version}
    largest = windows(X, sizes, steps, around, -np.inf).max((-1, -2))
    np.testing.assert_allclose(predicted(tmp_path / "m.h5", "MaxPooling2D", **how), largest, rtol=1e-6)
    zeros = version in ("2.0.4", "2.1.4")
    inside = windows(X, sizes, steps, around, 0 if zeros else np.nan)
    mean = np.nanmean(inside, axis=(-1, -2))
    found = predicted(tmp_path / "n.h5", "AveragePooling2D", **how)
    np.testing.assert_allclose(found, mean, rtol=1e-4, atol=1e-6)


def test_what_is_not_supported(tmp_path: Path) -> None:
    x = np.zeros((1, 2, 4, 4, 3), np.float32)
    fields = {"filters": 1, "strides": [2, 1], "recurrent_activation": "sigmoid"}
    with pytest.raises(SpecError, match=r"x \(ConvLSTM2D\): with strides, or windows of even size"):
        predicted(tmp_path / "m.h5", "ConvLSTM2D", KERNEL[:3], x, **fields)
