"""Keras computes in float32 in these tests, whatever other tests of the process have set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
FOLDER = Path(__file__).parent
OF_PEERS = ("peers", "keras_all")
OF_KERAS = "ignore:__array__ implementation:DeprecationWarning"
"""Keras itself does what NumPy advises against, whenever it saves a model."""


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents and any(map(item.get_closest_marker, OF_PEERS)):
            item.add_marker(pytest.mark.filterwarnings(OF_KERAS))


@pytest.fixture(autouse=True)
def _keras_in_float32(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not any(map(request.node.get_closest_marker, OF_PEERS)):
        yield
        return
    keras, jax = pytest.importorskip("keras"), pytest.importorskip("jax")
    _draw_by_numpy(monkeypatch)
    before = keras.config.floatx(), keras.config.dtype_policy(), jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])
    jax.config.update("jax_enable_x64", before[2])
    keras.utils.clear_session(free_memory=False)


def _draw_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """First weights without JAX, which compiles a program for each shape; tests draw their own anyway."""

    def drawn(shape: Sequence[int], *_: Any, dtype: Any = None, **__: Any) -> np.ndarray:
        return np.random.default_rng(0).normal(size=shape).astype(dtype or "float32")

    module = import_module("keras.src.backend").random
    for name in ("uniform", "normal", "truncated_normal"):
        monkeypatch.setattr(module, name, drawn)
