"""The eager interpreter's own promises."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_core.tensor import Tensor


def test_a_field_of_a_record_is_read_as_it_lies() -> None:
    records = np.zeros(4, [("flag", "i1"), ("value", "f4")])
    records["value"] = [1, 2, 3, 4]
    np.testing.assert_array_equal(Tensor(records["value"])[1::2].numpy(), [2, 4])


@pytest.mark.parametrize("gradient", [np.ones((2, 3)), np.ones(1), np.ones(3, np.float32)])
def test_a_gradient_of_another_type_is_an_error(gradient: np.ndarray) -> None:
    y = Tensor(np.ones(3), requires_grad=True) * 2.0
    with pytest.raises((ValueError, TypeError), match=r"this tensor is float64\[3\], the gradient float"):
        y.backward(Tensor(gradient))
