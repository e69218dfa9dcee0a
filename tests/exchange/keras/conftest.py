"""Keras computes in float32 in these tests, whatever other tests of the process have set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
FOLDER = Path(__file__).parent
OF_KERAS = "ignore:__array__ implementation:DeprecationWarning"
"""Keras itself does what NumPy advises against, whenever it saves a model."""


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents and item.get_closest_marker("peers"):
            item.add_marker(pytest.mark.filterwarnings(OF_KERAS))


@pytest.fixture(autouse=True)
def _keras_in_float32(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("peers") is None:
        yield
        return
    keras = pytest.importorskip("keras")
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])
    keras.utils.clear_session(free_memory=False)
