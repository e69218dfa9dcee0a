"""What the examples state of themselves, and how it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cortex_compute.errors import SpecError
from cortex_core.verify.stated import FORMS, Stated, stated

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
NATS, PIXEL = "nats per ", "per pixel"
ERRORS = {"loss": NATS, "sampled_loss": NATS, "mse": PIXEL, "denoised_mse": PIXEL}  # how their units begin

LONG = {"resnet20_cifar10": 20, "mobilenetv2_cifar10": 16}  # minutes: all of CIFAR-10, several times


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_states_what_it_reaches(path: Path) -> None:
    found = stated(path)
    train = yaml.safe_load(path.read_text(encoding="utf-8"))["train"]
    assert found.seed == train.get("seed", 0)
    assert 0 < found.minutes <= LONG.get(path.stem, 15)
    assert found.backend == "onednn"
    assert found.unit.startswith(ERRORS.get(found.metric, "%"))
    assert found.better == ("lower" if found.metric in ERRORS else "higher")
    assert (
        found.part == "test" or "test" not in train
    )  # what nothing was chosen on counts, where there is some


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (FORMS[0], Stated("test", "accuracy", "higher", 97.0, "%", 0, 2.0, "onednn")),
        (
            FORMS[1],
            Stated("validation", "loss", "lower", 1.75, "nats per character", 0, 9.0, "onednn"),
        ),
        (
            "# Test r2: at least 80 %; seed 3, 0.1 minutes, numpy.",
            Stated("test", "r2", "higher", 80.0, "%", 3, 0.1, "numpy"),
        ),
    ],
)
def test_the_second_line(line: str, expected: Stated, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(f"# What it is.\n{line}\ncortex: 1\n")
    assert stated(path) == expected


def test_numbers_come_from_the_metrics_of_a_run() -> None:
    metrics = {"test": {"accuracy": 0.5, "loss": 1.5}, "validation": {"loss": 2.5}}
    accuracy = Stated("test", "accuracy", "higher", 40.0, "%", 0, 1.0, "onednn")
    loss = Stated("validation", "loss", "lower", 3.0, "nats per character", 0, 1.0, "onednn")
    assert (accuracy.measured(metrics), accuracy.told) == (50.0, "test accuracy, %")
    assert (loss.measured(metrics), loss.told) == (2.5, "validation loss, nats per character")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# One line.",
        "# What it is.\n# Test accuracy: at least 97.0 %.\n",
        "# What it is.\n# Test accuracy: over 97.0 %; seed 0, 2 minutes, onednn.\n",
        "cortex: 1\n# Test accuracy: at least 97.0 %; seed 0, 2 minutes, onednn.\n",
    ],
)
def test_anything_else_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"net.yaml: the first line should .* '# Test accuracy: at least"):
        stated(path)
