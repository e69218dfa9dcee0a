"""What the estimators learn, keep and refuse."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits, make_regression
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import cortex
from cortex.sklearn import CortexClassifier, CortexRegressor, engine, loop
from cortex.sklearn.loop import Batches

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.yaml"
Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Data:
    x, y = load_digits(return_X_y=True)
    return x / 16, y


def small(**parameters: Any) -> CortexClassifier:
    return CortexClassifier((10,), **{"epochs": 2, "random_state": 0, **parameters})


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(a.weights_[name], b.weights_[name]) for name in a.weights_)


def test_batches_are_one_order_behind_the_other() -> None:
    made = [*Batches(10, 4, seed=3, epochs=range(5, 7))]
    rows = np.concatenate(made)
    assert [len(batch) for batch in made] == [4] * 5
    assert [sorted(part) for part in (rows[:10].tolist(), rows[10:].tolist())] == [[*range(10)]] * 2
    assert rows[:10].tolist() != rows[10:].tolist()


def test_an_example_comes_once_in_an_epoch() -> None:
    made = [*Batches(65, 64, seed=0, epochs=range(1))]
    assert [len(batch) for batch in made] == [33, 32]
    assert sorted(np.concatenate(made)) == [*range(65)]


def test_one_pass_learns_of_each_example_once() -> None:
    """Each example has a feature of its own: its weight moves by 2 rate error / batch, once."""
    x, y, rate, error = np.eye(65), np.zeros(65), 1e-6, 1000
    model = CortexRegressor((), optimizer="sgd", learning_rate=1e-12, random_state=0).partial_fit(x, y)
    before = model.weights_["output/kernel"].ravel()
    model.set_params(learning_rate=rate).partial_fit(x, y + error)
    moved = np.sort(model.weights_["output/kernel"].ravel() - before)
    assert moved[:33] == pytest.approx(2 * rate * error / 33, rel=0.01)
    assert moved[33:] == pytest.approx(2 * rate * error / 32, rel=0.01)


def test_a_schedule_counts_epochs_that_end_within_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """31 batches are 30 epochs of 65 examples: 10 epochs end before the 12th, 20 before the 22nd."""
    rates, rate = [], loop._rate
    monkeypatch.setattr(loop, "_rate", lambda *given: rates.append(rate(*given)) or rates[-1])
    schedule = {"step": {"every": 10, "factor": 0.1}}
    x = np.arange(65.0).reshape(-1, 1) / 65
    CortexRegressor((), optimizer="sgd", learning_rate=1e-3, schedule=schedule, epochs=30).fit(x, x[:, 0])
    assert rates == pytest.approx([1e-3] * 11 + [1e-4] * 10 + [1e-5] * 10)


def test_a_network_without_hidden_layers_is_a_linear_regression() -> None:
    x, y = make_regression(200, 5, n_targets=2, noise=5.0, random_state=0)
    y /= 100
    schedule, optimizer = "cosine", {"adam": {"learning_rate": 0.05}}
    model = CortexRegressor((), optimizer=optimizer, schedule=schedule, epochs=100, random_state=0).fit(x, y)
    exact = LinearRegression().fit(x, y)
    assert np.allclose(model.weights_["output/kernel"], exact.coef_.T, atol=2e-3)
    assert np.allclose(model.weights_["output/bias"], exact.intercept_, atol=2e-3)
    assert np.allclose(model.predict(x), exact.predict(x), atol=1e-2)
    assert model.predict(x).dtype == np.float64


def test_the_shape_of_y_comes_back() -> None:
    x = np.arange(6.0).reshape(-1, 1)
    for y in (x[:, 0], x, np.hstack([x, -x])):
        assert CortexRegressor((), epochs=1).fit(x, y).predict(x).shape == y.shape


def test_labels_of_any_kind(digits: Data) -> None:
    x, y = digits
    names = np.array([f"digit {k}" for k in y])
    model, numbers = small(epochs=5).fit(x, names), small(epochs=5).fit(x, y)
    assert model.classes_.tolist() == sorted(set(names))
    assert (model.predict(x) == [f"digit {k}" for k in numbers.predict(x)]).all()
    assert numbers.score(x, y) == accuracy_score(y, numbers.predict(x)) > 0.8
    assert np.abs(model.predict_proba(x).sum(axis=1) - 1).max() < 1e-12


def test_the_seed_decides(digits: Data) -> None:
    first = small().fit(*digits)
    small(random_state=1, learning_rate=0.1).fit(*digits)  # on the same programs
    assert same(first, small().fit(*digits))
    assert not same(first, small(random_state=1).fit(*digits))
    assert not same(small(random_state=None).fit(*digits), small(random_state=None).fit(*digits))


def test_estimators_that_share_programs_keep_their_weights(digits: Data) -> None:
    x, y = digits
    first = small().fit(x, y)
    before = first.predict_proba(x)
    other = small(random_state=1).fit(x, y)
    assert np.abs(other.predict_proba(x) - before).max() > 1e-3
    assert np.array_equal(first.predict_proba(x), before)


def test_programs_are_shared_where_only_numbers_differ(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_idle", [])
    small().fit(*digits).predict(digits[0])
    small(learning_rate=0.5, epochs=1, schedule="cosine", random_state=4).fit(*digits)
    assert len(engine._idle) == 1
    small(optimizer={"adamw": {"weight_decay": 0.1}}).fit(*digits)
    small(activation="tanh").fit(*digits)
    assert len(engine._idle) == 3


def test_few_networks_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_idle", [])
    for units in range(1, 12):
        CortexClassifier((units,), epochs=1).fit([[0.0], [1.0]], [0, 1])
    assert len(engine._idle) == engine.KEPT
    monkeypatch.setattr(engine, "KEPT_BYTES", 0)
    CortexClassifier((12,), epochs=1).fit([[0.0], [1.0]], [0, 1])
    assert len(engine._idle) == 1


def test_early_stopping_keeps_the_best_epoch(digits: Data) -> None:
    x, y = digits
    model = small(early_stopping=True, epochs=60, patience=2, learning_rate=0.05)
    held: list[Any] = []
    score = CortexClassifier._score
    model._score = lambda outputs, labels: held.append(labels) or score(model, outputs, labels)
    model.fit(x, y)
    del model._score
    best = int(np.argmax(model.validation_scores_))
    assert len(model.validation_scores_) == model.n_iter_ == best + 3 < 60
    assert len(held[0]) == 180  # a tenth
    draws = np.random.RandomState(0)
    draws.randint(2**31)  # the seed
    _, x_held, _, y_held = train_test_split(x, y, test_size=0.1, random_state=draws, stratify=y)
    assert accuracy_score(y_held, model.predict(x_held)) == max(model.validation_scores_)


@pytest.mark.parametrize(("fraction", "extra"), [(0.001, []), (0.1, ["once"])])
def test_what_early_stopping_cannot_hold_out(fraction: float, extra: list[str]) -> None:
    y = ["a", "b"] * 50 + extra
    told = rf"early_stopping .* validation_fraction of {fraction} of {len(y)} examples: .*[^.]\. Give another"
    with pytest.raises(ValueError, match=told):
        small(early_stopping=True, validation_fraction=fraction).fit(np.zeros((len(y), 2)), y)


@pytest.mark.parametrize(("shift", "scale"), [(1e6, 1), (-101, 1), (0, 1e5)])
def test_targets_that_are_far_from_one_are_warned_of(shift: float, scale: float) -> None:
    x = np.linspace(-2, 2, 20).reshape(-1, 1)
    y = shift + scale * x[:, 0]
    with pytest.warns(UserWarning, match="y has a mean of .*TransformedTargetRegressor") as found:
        CortexRegressor((), epochs=1).fit(x, np.stack([x[:, 0], y], axis=1))
    assert found[0].filename == __file__


def test_targets_of_about_one_and_descriptions_are_not_warned_of() -> None:
    x = np.linspace(-2, 2, 20).reshape(-1, 1)
    large, output = 1e6 + 1e5 * x[:, 0], {"inputs": {"x": "auto"}, "layers": [{"dense": 1}]}
    CortexRegressor((), epochs=1).fit(x, 50 + 20 * x[:, 0])
    CortexRegressor(description=output, epochs=1).fit(x, large)
    scaled = TransformedTargetRegressor(CortexRegressor(random_state=0), transformer=StandardScaler())
    assert scaled.fit(x, large).score(x, large) > 0.9


def test_rare_classes_get_more_weight() -> None:
    """With equal features the network gives the share of each class by weight: 2 * 4 of 8 + 8 is a half."""
    loss = {"softmax_cross_entropy": {"target": "y", "class_weights": [1, 4]}}
    description = {"inputs": {"x": "auto"}, "layers": [{"dense": 2}], "loss": loss}
    x, y = np.zeros((10, 1)), [0] * 8 + [1] * 2
    model = CortexClassifier(description=description, optimizer="adam", learning_rate=0.05, epochs=300)
    assert model.fit(x, y).predict_proba(x)[0, 1] == pytest.approx(0.5, abs=0.01)


def test_a_further_fit_starts_from_the_weights(digits: Data) -> None:
    warm = small(warm_start=True).fit(*digits)
    before = warm.weights_
    warm.set_params(learning_rate=1e-12, random_state=1).fit(*digits)
    assert all(np.allclose(warm.weights_[name], array, atol=1e-8) for name, array in before.items())
    with pytest.raises(ValueError, match="layers have changed"):
        warm.set_params(hidden_layer_sizes=(11,)).fit(*digits)
    with pytest.raises(ValueError, match="classes of before"):
        warm.set_params(hidden_layer_sizes=(10,)).fit(digits[0], digits[1] % 2)


def test_a_partial_fit_goes_on_also_from_a_pickle(digits: Data) -> None:
    x, y = digits
    layers = [{"dense": {"units": 10, "activation": "relu"}}, {"dropout": 0.3}, {"dense": 10}]
    made = [
        CortexClassifier(description={"inputs": {"x": "auto"}, "layers": layers}, random_state=0)
        for _ in range(2)
    ]
    for _ in range(4):
        made = [model.partial_fit(x, y, classes=range(10)) for model in made]
        made[1] = pickle.loads(pickle.dumps(made[1]))
        small(random_state=5).fit(x, y)
    assert same(*made)
    assert len(made[0].loss_curve_) == 4
    assert sorted(made[0].loss_curve_, reverse=True) == made[0].loss_curve_


def test_a_pickle_holds_arrays_and_plain_data(digits: Data) -> None:
    model = small().partial_fit(*digits, classes=range(10))

    def plain(x: Any) -> bool:
        if isinstance(x, dict):
            return all(map(plain, x.values()))
        if isinstance(x, (list, tuple)):
            return all(map(plain, x))
        return x is None or isinstance(x, (bool, int, float, str, np.ndarray))

    assert [name for name, value in model.__getstate__().items() if not plain(value)] == []
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict_proba(digits[0]), model.predict_proba(digits[0]))


def test_weights_cannot_be_changed_in_place(digits: Data) -> None:
    model = small().fit(*digits)
    for other in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        with pytest.raises(ValueError, match="read-only"):
            other.weights_["output/bias"][...] = 0
        with pytest.raises(TypeError, match="item assignment"):
            other.weights_["output/bias"] = np.zeros(10, np.float32)


def test_a_prediction_copies_no_more_than_the_last_batch() -> None:
    x = np.zeros((20_001, 100), np.float32)
    model = CortexRegressor((), epochs=1).fit(x[:64], x[:64, 0])
    model.predict(x)
    tracemalloc.start()
    model.predict(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 2


def test_a_fit_that_is_refused_changes_no_prediction() -> None:
    x = np.arange(6.0).reshape(-1, 1)
    model = CortexRegressor((), epochs=1).fit(x, x[:, 0])
    with pytest.raises(cortex.SpecError, match="learning_rate: -1"):
        model.set_params(learning_rate=-1).fit(x, np.hstack([x, x]))
    assert model.predict(x).shape == (6,)


def test_targets_that_float32_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r"y holds -1e\+39, which is too large for float32: scale y"):
        CortexRegressor((), epochs=1).fit([[0.0], [1.0]], [0.0, -1e39])


def test_a_description_in_a_file(digits: Data, tmp_path: Path) -> None:
    x, y = digits
    model = CortexClassifier(description=EXAMPLE, epochs=3, random_state=0).fit(x[:800], y[:800])
    assert model.score(x[1400:], y[1400:]) > 0.5
    train = model.description_["train"]
    assert (train["batch_size"], train["epochs"], train["data"]) == (32, 3, None)
    assert train["optimizer"]["adam"]["learning_rate"] == 0.002
    model.network_.save(tmp_path / "digits.cortex")
    found = cortex.load(tmp_path / "digits.cortex").predict(x[:50].reshape(-1, 8, 8, 1))
    assert np.allclose(found, model.predict_proba(x[:50]), atol=1e-6)


@pytest.mark.parametrize("end", [{}, {"activation": "softmax"}])
def test_probabilities_are_the_softmax_of_the_last_layer_once(digits: Data, end: dict[str, str]) -> None:
    x, y = digits
    description = {"inputs": {"x": "auto"}, "layers": [{"dense": {"units": 10, **end}}]}
    model = CortexClassifier(description=description, epochs=3, random_state=0).fit(x, y)
    kernel, bias = sorted(model.weights_.values(), key=np.ndim, reverse=True)
    e = np.exp(x @ kernel.astype(float) + bias)
    assert np.allclose(model.predict_proba(x), e / e.sum(axis=1, keepdims=True), atol=1e-5)
    assert model.score(x, y) > 0.8


DENSE = {"inputs": {"x": "auto"}, "layers": [{"dense": {"units": 10, "id": "p"}}]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (0,), "epochs": 0}, "hidden_layer_sizes is .0,.*\n.*train.epochs: 0"),
        ({"activation": "rleu", "batch_size": "x"}, "train.batch_size.*\n.*Did you mean 'relu'"),
        ({"optimizer": "adma"}, "Did you mean 'adam'"),
        ({"schedule": "reduce_on_plateau", "description": DENSE}, "reduce_on_plateau is for cortex.train"),
        ({"learning_rate": -1.0}, "learning_rate: -1"),
        ({"early_stopping": "no", "patience": 0}, "early_stopping is 'no'.*\n.*patience is 0"),
        ({"validation_fraction": 1}, "validation_fraction is 1"),
        ({"backend": "nix"}, "unknown backend 'nix'"),
        ({"description": 5}, "description is 5: expected a dict, or the path"),
        ({"description": "nix.yaml"}, "nix.yaml: cannot be read"),
        ({"description": DENSE, "hidden_layer_sizes": (3,)}, "has its own layers"),
        (
            {"description": DENSE, "activation": np.array(["relu", "tanh"])},
            "activation is array.*has its own layers",
        ),
        ({"activation": np.array(["relu", "tanh"])}, r"activation"),
        ({"description": {**DENSE, "inputs": {"x": [8, 7]}}}, r"\[8, 7\], but X has 64 features"),
        ({"description": {**DENSE, "layers": [{"dense": 3}]}}, r"is \[3\]: expected \[10\]"),
        ({"description": {**DENSE, "layers": [{"reshape": [8, 8]}, {"dense": 10}]}}, r"is \[8, 10\]"),
        ({"description": {**DENSE, "loss": {"mse": {"of": "p", "target": "y"}}}}, "softmax_cross_entropy or"),
        (
            {"description": {**DENSE, "train": {"early_stopping": {"patience": 3}}}},
            "give early_stopping=True",
        ),
        ({"description": {**DENSE, "inputs": {"x": {"shape": [64], "dtype": "int64"}}}}, "expected float32"),
        ({"optimizer": "sgd", "learning_rate": 1e30}, "not finite.*layer"),
    ],
)
def test_parameters_that_are_refused(digits: Data, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(cortex.CortexError, match=f"(?s){message}"):
        CortexClassifier(**parameters).fit(*digits)


def test_an_output_that_no_loss_compares_is_refused(digits: Data) -> None:
    layers = [{"dense": {"units": 10, "id": "p"}}, {"dense": {"units": 10, "id": "q", "from": "p"}}]
    loss = {"softmax_cross_entropy": {"of": "p", "target": "y"}}
    with pytest.raises(cortex.SpecError, match="outputs: q: expected the one that a loss compares with y, p"):
        CortexClassifier(description={**DENSE, "layers": layers, "loss": loss}).fit(*digits)


def test_a_description_with_nothing_to_train(digits: Data) -> None:
    frozen = {**DENSE, "layers": [{"dense": {"units": 10, "trainable": False}}]}
    with pytest.raises(cortex.SpecError, match="no layer is trained"):
        CortexClassifier(description=frozen).fit(*digits)


def test_two_streams_and_states_are_refused(digits: Data) -> None:
    two = [{"softmax_cross_entropy": {"of": "p", "target": "a"}}, {"mse": {"of": "p", "target": "b"}}]
    with pytest.raises(cortex.SpecError, match="its losses read a, b"):
        CortexClassifier(description={**DENSE, "loss": two}).fit(*digits)
    layers = [{"reshape": [8, 8]}, {"lstm": {"units": 4, "stateful": True}}, {"dense": 10}]
    with pytest.raises(cortex.SpecError, match="carried from batch to batch"):
        CortexClassifier(description={**DENSE, "layers": layers}).fit(*digits)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {}, "classes is needed"),
        ({"classes": [3]}, {}, "two classes"),
        ({"classes": range(9)}, {}, "y holds 9"),
        ({"classes": range(10)}, {"classes": range(11)}, "before they were"),
    ],
)
def test_classes_of_partial_fit(digits: Data, first: Any, second: Any, message: str) -> None:
    model = small()
    with pytest.raises(ValueError, match=message):
        model.partial_fit(*digits, **first).partial_fit(*digits, **second)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"early_stopping": True}, "never sees all data"),
        ({"schedule": "cosine"}, "expected constant"),
        ({"description": {**DENSE, "train": {"schedule": "cosine"}}}, "train.schedule is cosine"),
    ],
)
def test_what_partial_fit_cannot_honour(digits: Data, parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CortexClassifier(**parameters).partial_fit(*digits, classes=range(10))


def test_one_class_alone(digits: Data) -> None:
    with pytest.raises(ValueError, match="y has one class, 7"):
        small().fit(digits[0][:5], [7] * 5)
