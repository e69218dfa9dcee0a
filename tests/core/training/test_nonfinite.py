"""A loss that is not finite stops the run, and the first thing that is not finite is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CortexError, DataError
from cortex_core.training.callbacks import Callback
from cortex_core.training.checkpoint import load
from cortex_core.training.nonfinite import NonFiniteError
from cortex_core.training.source import Arrays
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description, line, plain, states


def fill(network: Any, name: str, value: float) -> None:
    """Gives all numbers of a parameter one value."""
    network.parameters[name] = np.full_like(network.parameters[name], value)


class Before(Callback):
    """Changes the network after step ``at``, and notes all states as they then are."""

    def __init__(self, at: int, **changes: tuple[str, float]) -> None:
        super().__init__()
        self.at, self.changes = at, changes
        self.seen: dict[str, bytes] = {}

    def step(self, trainer: Any) -> None:
        if trainer.step == self.at:
            for name, value in self.changes.values():
                array = trainer.network.parameters[name].copy()
                array.flat[0] = value
                trainer.network.parameters[name] = array
            self.seen = states(trainer.network)
            self.network = trainer.network


def test_a_layer_that_overflows_is_named_and_the_state_before_is_kept(tmp_path: Path) -> None:
    spec = plain(epochs=2)
    spec["layers"].insert(0, {"dense": {"units": 2, "id": "first", "activation": "exponential"}})
    before = Before(4, change=("first/bias", 1e30))
    with pytest.raises(NonFiniteError) as error:
        train(spec, line(), out=tmp_path, progress=False, callbacks=[before])
    assert "epoch 2, step 5" in str(error.value)
    assert "the output of layer 'first' (dense, layers[0]" in str(error.value)
    assert states(before.network) == before.seen
    kept = load(tmp_path / "last.cortex")
    assert kept.parameters["first/bias"][0] == np.float32(1e30)


def test_moments_and_statistics_of_a_failed_step_are_as_before(tmp_path: Path) -> None:
    before = Before(9, change=("out/kernel", 3e38))
    data = blobs()
    data["x"] *= 100
    with pytest.raises(NonFiniteError, match=r"epoch 2, step 10.*layer 'out'"):
        train(description(), data, out=tmp_path, progress=False, callbacks=[before])
    assert states(before.network) == before.seen


def test_a_loss_that_overflows_is_named(tmp_path: Path) -> None:
    data = line()
    data["t"][7] = 1e30  # finite; its square is not
    with pytest.raises(NonFiniteError, match=r"the loss 'mse'"):
        train(plain(), data, out=tmp_path, progress=False)


def test_a_gradient_that_overflows_is_named(tmp_path: Path) -> None:
    """The loss is finite, the norm of the gradients is not: clipping sees it in the same step."""
    spec = plain(clip_norm=1.0)
    spec["layers"].insert(0, {"dense": {"units": 2, "id": "first"}})
    data = line()
    data["x"][:] = 1e-3

    class Flat(Callback):
        """Makes the prediction finite and its derivative enormous."""

        def step(self, trainer: Any) -> None:
            if trainer.step == 2:
                for name in ("first/kernel", "first/bias"):
                    fill(trainer.network, name, 0)
                fill(trainer.network, "y/kernel", 1e38)
                fill(trainer.network, "y/bias", 1e15)

    with pytest.raises(NonFiniteError, match=r"step 3.*a gradient of layer 'first'"):
        train(spec, data, out=tmp_path, progress=False, callbacks=[Flat()])


def test_a_parameter_that_was_spoilt_is_named_and_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 3.*parameter 'y/bias', by the step before"):
        train(plain(), line(), out=tmp_path, progress=False, callbacks=[Before(2, b=("y/bias", np.nan))])
    assert not (tmp_path / "last.cortex").exists()


def test_an_epoch_that_ends_with_a_spoilt_parameter_keeps_the_last_good_state(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"parameter 'y/bias' is not finite any more"):
        train(
            plain(epochs=2), line(), out=tmp_path, progress=False, callbacks=[Before(6, b=("y/bias", np.nan))]
        )
    assert np.isfinite(load(tmp_path / "last.cortex").parameters["y/bias"]).all()


class Leaky(Arrays):
    """A source that nobody checked: example 6 is NaN."""

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        super().gather(indices, out, epoch=epoch)
        if "x" in out:
            out["x"][: len(indices)][indices == 6] = np.nan


def test_an_example_that_is_not_finite_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stream 'x' holds .* not finite, in example 6"):
        train(plain(), Leaky(line()), out=tmp_path, progress=False)


def test_too_large_a_rate_ends_in_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    spec = plain(epochs=100, optimizer={"sgd": {"learning_rate": 1e6}})
    with pytest.raises(CortexError, match="smaller learning_rate"):
        train(spec, line(), out=tmp_path, progress=False)
