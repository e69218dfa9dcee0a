"""Keras on JAX, computing in float64: one process has one backend of Keras, so all tests share this."""

from __future__ import annotations

import os
from typing import Any

import pytest


def keras_in_float64() -> Any:
    """The module; skips where it is not installed."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    pytest.importorskip("jax").config.update("jax_enable_x64", True)
    module = pytest.importorskip("keras")
    module.config.set_floatx("float64")
    module.config.set_dtype_policy("float64")
    # on JAX its products round to float32 whatever the policy is
    pytest.importorskip("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE.pop("float64", None)
    return module
