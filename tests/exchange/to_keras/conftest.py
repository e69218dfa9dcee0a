"""Keras computes in float32 in these tests too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.exchange.keras.conftest import OF_KERAS, OF_PEERS
from tests.exchange.keras.conftest import _keras_in_float32 as _keras_in_float32

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents and any(map(item.get_closest_marker, OF_PEERS)):
            item.add_marker(pytest.mark.filterwarnings(OF_KERAS))
