"""`train.augment` of a description: what the network is trained on, and a run that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_core.training.callbacks import Callback
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from tests.core.training.test_resume import PressCtrlC
from tests.datasets.augment.examples import pictures, table


def spec(augment: Any, **options: Any) -> dict[str, Any]:
    return {
        "cortex": 1,
        "name": "varied",
        "inputs": {"image": [8, 8, 3]},
        "layers": ["flatten", {"dense": {"units": 4, "id": "kind"}}],
        "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        "train": {"batch_size": 8, "augment": augment, **options},
    }


def parameters(run: Any) -> dict[str, np.ndarray]:
    return dict(run.network.parameters)


@pytest.mark.parametrize(
    "augment",
    [["flip", {"crop": 2}, "erase"], [{"rotate": 20}, {"noise": 0.1}], [{"mixup": 1.0}, "cutmix"]],
)
def test_interrupted_and_resumed_is_unbroken(tmp_path: Path, augment: list[Any]) -> None:
    made = spec(augment, epochs=3)
    unbroken = train(made, pictures(), out=tmp_path / "a", progress=False)
    with pytest.raises(Interrupted):
        train(made, pictures(), out=tmp_path / "b", progress=False, callbacks=[PressCtrlC(8)])
    resumed = train(None, pictures(), resume=tmp_path / "b", progress=False)
    for name, array in parameters(unbroken).items():
        np.testing.assert_array_equal(array, parameters(resumed)[name])
    plain = train(spec(None, epochs=3), pictures(), out=tmp_path / "c", progress=False)
    assert any((parameters(plain)[n] != a).any() for n, a in parameters(unbroken).items())


def test_only_the_training_part_is_varied(tmp_path: Path) -> None:
    seen = {}

    class Look(Callback):
        def start(self, trainer: Any) -> None:
            seen["train"], seen["validation"] = trainer.data.train, trainer.data.validation

    made = spec(["flip"], validation=0.25)
    train(made, pictures(), out=tmp_path / "a", progress=False, callbacks=[Look()])
    assert len(seen["train"]) == 30
    assert not seen["train"].fixed
    assert seen["validation"].fixed


def test_data_that_cannot_be_varied(tmp_path: Path) -> None:
    made = {**spec(["flip"]), "inputs": {"features": [5]}}
    made["layers"] = made["layers"][1:]
    with pytest.raises(DataError, match=r"train\.augment\[0\]: flip: needs a picture among the inputs"):
        train(made, table(), out=tmp_path / "a", progress=False)


def test_mistakes_in_the_description_have_their_places() -> None:
    with pytest.raises(SpecError) as caught:
        train(spec([{"rotat": 10}, {"crop": -1}]), pictures(), progress=False)
    assert "train.augment[0].rotat: unknown augmentation 'rotat'. Did you mean 'rotate'?" in str(caught.value)
    assert "train.augment[1].crop: -1 is too small" in str(caught.value)
