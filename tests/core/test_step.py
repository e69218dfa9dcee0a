"""Several losses and metrics in one step: on one node, of one kind, by names that others have too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_core.compiled import compile

rng = np.random.default_rng(0)
BATCH = {
    "x": rng.random((6, 4), np.float32),
    "t": rng.random((6, 3), np.float32),
    "y": np.array([0, 1, 9, 2, 9, 1]),
}


def description(losses: list[Any], metrics: list[Any]) -> dict[str, Any]:
    return {
        "cortex": 1,
        "name": "several",
        "inputs": {"x": [4]},
        "layers": [{"dense": {"units": 3, "id": "o"}}],
        "loss": losses,
        "train": {"optimizer": "sgd", "metrics": metrics},
    }


def term(kind: str, target: str, **fields: Any) -> dict[str, Any]:
    return {kind: {"of": "o", "target": target, **fields}}


def totals(losses: list[Any], metrics: list[Any], runs: int = 3) -> tuple[dict[str, Any], np.ndarray]:
    """What the sums say after some runs over one batch, and the output of the layer."""
    compiled = compile(description(losses, metrics), purpose="evaluate")
    used = {"x", *(next(iter(x.values()))["target"] for x in losses)}
    for _ in range(runs):
        compiled.run({name: a for name, a in BATCH.items() if name in used})
    entry = next(iter(compiled._entries.values()))
    p = compiled.network.parameters
    return compiled.totals(entry), BATCH["x"] @ p["o/kernel"] + p["o/bias"]


def test_a_metric_named_as_a_loss_has_sums_of_its_own() -> None:
    found, o = totals([term("mse", "t"), term("mae", "t")], [term("mse", "t")])
    mse, mae = ((o - BATCH["t"]) ** 2).mean(), np.abs(o - BATCH["t"]).mean()
    assert found == pytest.approx({"loss": mse + mae, "mse": mse, "mae": mae, "mse_2": mse}, rel=1e-5)


def test_a_loss_cannot_take_the_name_of_the_sum_of_all() -> None:
    with pytest.raises(ValueError, match="the name 'loss' is taken already"):
        compile(description([term("mse", "t", name="loss"), term("mae", "t")], []))


def test_a_metric_counts_the_samples_that_the_loss_of_its_target_counts() -> None:
    classes = term("softmax_cross_entropy", "y", ignore_index=9)
    found, o = totals([term("mse", "t"), classes], [term("accuracy", "y")])
    kept = BATCH["y"] != 9
    assert found["accuracy"] == pytest.approx((o.argmax(1) == BATCH["y"])[kept].mean())
