"""Every module and loss gives as a compiled program what it gives eagerly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_core import nn
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace
from tests.core.nn.rows import LOSSES, MODULES, Row, inputs_of, target_of


def single(numbers: Any) -> Tensor:
    return Tensor(np.array(numbers, np.float32))


def as_single(x: np.ndarray) -> Tensor:
    return Tensor(x.astype(np.float32) if x.dtype.kind == "f" else x)


@pytest.mark.parametrize("name", [*MODULES, *LOSSES])
def test_traced_is_eager(name: str) -> None:
    rng = np.random.default_rng(4)
    row: Row = {**MODULES, **LOSSES}[name]
    module, other = row.make(nn, single), row.make(nn, single)
    other.load_state_dict(module.state_dict())
    args = [as_single(x) for x in inputs_of(row, rng)]
    args += [as_single(target_of(row, rng))] if row.target else []
    program = trace(module, *args, backend="numpy")
    for _ in range(2):
        y = program(*args)
        np.testing.assert_allclose(y.numpy(), other(*args).detach().numpy(), rtol=1e-5, atol=1e-6)
    for key, value in other.state_dict().items():
        np.testing.assert_allclose(module.state_dict()[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-6)
