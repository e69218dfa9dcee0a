"""What is measured of classifiers: fits that count only where they are as accurate as the peer's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sklearn.dummy import DummyClassifier

from benchmarks import compare, fit_worker
from benchmarks.rows import ROWS
from benchmarks.turns import Failed


@dataclass
class Reached:
    """A contestant of this accuracy."""

    accuracy: float

    @property
    def values(self) -> list[list[float]]:
        return [[self.accuracy]] * 3

    def turn(self, seconds: float) -> dict[str, float]:
        return {"median": 1.0}

    def close(self) -> None: ...


def test_who_is_less_accurate_has_no_result() -> None:
    row = ROWS["wine_fit"]
    compare.check(row, {"cortex": Reached(0.9), "sklearn": Reached(0.9)})
    with pytest.raises(Failed, match="scikit-learn is more accurate"):
        compare.check(row, {"cortex": Reached(0.8999), "sklearn": Reached(0.9)})


def test_a_step_gives_the_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest class of wine is 71 of its 178 examples."""
    monkeypatch.setattr(fit_worker, "classifier", lambda way, seed: DummyClassifier())
    step = fit_worker.make({"workload": "wine", "way": "", "threads": 1})
    assert step() == step() == pytest.approx(71 / 178, abs=1e-2)


@pytest.mark.parametrize(("way", "name"), [("", "CortexClassifier"), ("sklearn", "MLPClassifier")])
def test_both_have_the_same_hidden_layers(way: str, name: str) -> None:
    made = fit_worker.classifier(way, 1)[-1]
    assert (type(made).__name__, made.hidden_layer_sizes, made.random_state) == (name, (100,), 1)
