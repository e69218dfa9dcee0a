"""The reference of a layer or loss: what it says is that of the class and of its example."""

from __future__ import annotations

from typing import Any

import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.ops.pointwise import tanh
from cortex_core.reference import markdown, section
from cortex_core.registry import LAYERS, LOSSES

pytestmark = pytest.mark.usefixtures("own_registry")


def test_a_convolution() -> None:
    text = section("conv2d", LAYERS["conv2d"])
    assert text.startswith("## conv2d\n\nConvolution of images.")
    assert "LeCun et al., 1989" in text
    assert "| **filters** | a whole number, at least 1 |  | channels of the output |" in text
    assert "inputs: {image: [4, 3, 2]}\nlayers: [conv2d: {filters: 3, kernel: 2}]" in text
    assert "conv2d  conv2d  3 x 2 x 3          27" in text  # 4 - 2 + 1, 3 - 2 + 1;  2 * 2 * 2 * 3 + 3
    assert "`conv2d/kernel` (2, 2, 2, 3); `conv2d/bias` (3,)." in text
    rules = text.partition("Gradient:")[2]
    assert "- `Conv`: y = x \\* w:  dx".replace("  ", " ") in rules
    assert "dw[k, c, o] = sum of" in rules.replace("\\[", "[")
    assert "\n- `add`: " in rules  # of the bias


def test_what_stands_before_a_layer_is_not_its_gradient() -> None:
    rules = section("tanh", LAYERS["tanh"]).partition("Gradient:\n\n")[2]
    assert (
        rules
        == "- `tanh`: y = sinh x / cosh x. By the quotient rule (cosh^2 - sinh^2) / cosh^2: dx = g (1 - y^2)"
    )
    assert "Gemm" not in section("mse", LOSSES["mse"])
    assert "passes unchanged" in section("linear", LAYERS["linear"])


def test_what_is_kept_is_told_from_what_is_learned() -> None:
    text = section("batch_norm", LAYERS["batch_norm"])
    assert "`batch_norm/scale` (2,); " in text
    assert "`batch_norm/moving_mean` (2,), kept" in text
    assert "`center_loss/centers` (3, 2), kept" in section("center_loss", LOSSES["center_loss"])


def test_a_layer_of_ones_own() -> None:
    class Mine:
        """tanh(a x) < 1 | in *bold*.

        Example:
            inputs: {x: [4]}
            layers: [mine_for_a_test: 2]
        """

        a: float = cortex.field(default=1.0, doc="one | two", above=0)

        def forward(self, p: Any, x: Any) -> Any:
            return tanh(self.a * x)

    text = section("mine_for_a_test", cortex.layer("mine_for_a_test", main="a")(Mine))
    assert "tanh(a x) \\< 1 | in \\*bold\\*." in text
    assert "| **a** | a number, above 0 | `1.0` | one \\| two |" in text
    assert {line[2:8] for line in text.splitlines() if line.startswith("- ")} == {"`mul`:", "`tanh`"}


def test_without_an_example_there_is_none() -> None:
    cls = cortex.layer("mine_for_a_test")(type("Mine", (), {"forward": lambda self, p, x: x}))
    with pytest.raises(SpecError, match="Mine: its docstring does not end with an Example:"):
        section("mine_for_a_test", cls)


def test_code_stays_as_it_is() -> None:
    assert markdown("``a * b`` and c * d, e[i]") == "`a * b` and c \\* d, e\\[i]"
