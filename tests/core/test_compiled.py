"""Networks compiled for a purpose, and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import BackendError, DataError, DTypeError, SpecError
from cortex_compute.numpy_backend.backend import NumpyBackend
from cortex_core.compiled import KEPT, Compiled, Purpose, compile
from cortex_core.network import Network, network
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description, line, plain, states


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def forward(made: Network, x: np.ndarray) -> np.ndarray:
    """The logits of `description` in the mode of prediction, in float64."""
    p = {n: a.astype(float) for n, a in {**made.parameters, **made.variables}.items()}
    h = x.astype(float) @ p["hidden/kernel"] + p["hidden/bias"]
    scaled = (h - p["batch_norm/moving_mean"]) / np.sqrt(p["batch_norm/moving_variance"] + 1e-5)
    h = np.maximum(scaled * p["batch_norm/scale"] + p["batch_norm/shift"], 0)
    return np.asarray(h @ p["out/kernel"] + p["out/bias"])


@pytest.mark.parametrize("batch_size", [1, 7, 50, 256])
def test_prediction_in_batches_of_any_size(batch_size: int) -> None:
    made, x = network(description()), blobs()["x"]
    np.testing.assert_allclose(made.predict(x, batch_size), softmax(forward(made, x)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        made.predict({"x": x}, batch_size, raw=True), forward(made, x), rtol=1e-5, atol=1e-6
    )


def test_prediction_takes_other_numbers_and_no_examples() -> None:
    made, x = network(description()), blobs()["x"]
    whole = np.rint(x)
    expected = made.predict(whole)
    np.testing.assert_array_equal(made.predict(whole.astype(np.int8)), expected)
    np.testing.assert_array_equal(made.predict(whole.tolist()), expected)
    assert made.predict(x[:0]).shape == (0, 3)


def test_several_outputs_come_by_name() -> None:
    spec = description()
    spec["outputs"] = ["out", "hidden"]
    found = network(spec).predict(blobs()["x"])
    assert {name: a.shape for name, a in found.items()} == {"out": (50, 3), "hidden": (50, 8)}


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 5)), DataError, r"input 'x' has shape \(2, 5\), expected \(examples, 4\)"),
        (np.zeros(4), DataError, r"shape \(4,\), expected \(examples, 4\)"),
        (1.0, DataError, r"shape \(\)"),
        ({"y": np.zeros((2, 4))}, DataError, "missing input 'x'"),
        (np.full((2, 4), "a"), DTypeError, "holds <U1, expected float32"),
        (np.zeros((2, 4), complex), DTypeError, "complex128"),
    ],
)
def test_what_cannot_be_predicted(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        network(description()).predict(x)


def batch(rows: slice = slice(0, 8)) -> dict[str, np.ndarray]:
    return {name: a[rows] for name, a in blobs().items()}


def test_a_step_changes_the_network_and_gives_the_loss() -> None:
    data = line(4)
    program = compile(plain(), purpose="train", batch_size=4)
    p = program.network.parameters
    w, b = p["y/kernel"].astype(float), p["y/bias"].astype(float)
    error = data["x"] @ w + b - data["t"]
    result = program.run(data)
    assert float(result["loss"]) == pytest.approx((error**2).mean(), rel=1e-5)
    np.testing.assert_allclose(p["y/kernel"], w - 0.1 * 2 * data["x"].T @ error / 4, rtol=1e-5)
    np.testing.assert_allclose(p["y/bias"], b - 0.1 * 2 * error.mean(axis=0), rtol=1e-5)
    assert program.network.step == 1
    program.run(data, learning_rate=0.0)
    np.testing.assert_allclose(p["y/bias"], b - 0.1 * 2 * error.mean(axis=0), rtol=1e-5)


def test_evaluation_changes_no_parameter_and_agrees_with_the_formula() -> None:
    program = compile(description(), purpose="evaluate")
    before = {n: a.tobytes() for n, a in program.network.parameters.items()}
    data = batch()
    p = softmax(forward(program.network, data["x"]))
    loss = float(program.run(data)["loss"])
    assert loss == pytest.approx(-np.log(p[np.arange(8), data["label"]]).mean(), rel=1e-5)
    assert {n: a.tobytes() for n, a in program.network.parameters.items()} == before


def test_other_batch_sizes_compile_once_and_eight_are_kept() -> None:
    program = compile(description(), purpose="evaluate")
    first = program.entry(program.types(8))
    assert program.entry(program.types(8)) is first
    for size in range(1, KEPT):
        program.run(batch(slice(0, size)))
    assert program.entry(program.types(8)) is first
    for size in range(10, 11 + KEPT):
        program.entry(program.types(size))
    assert program.entry(program.types(8)) is not first
    assert len(program._entries) == KEPT == 8


def test_one_small_example_is_predicted_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, single = NumpyBackend(), NumpyBackend()
    monkeypatch.setattr(backend, "single", lambda: single)
    small = description()
    long = {"inputs": {"x": [200, 256]}, "layers": [{"lstm": {"units": 256}}]}
    large = {"inputs": {"x": [34, 34, 64]}, "layers": [{"conv2d": {"filters": 100, "kernel": 3}}]}

    def chosen(spec: Any, purpose: Purpose = "predict") -> list[Any]:
        program = Compiled(network(spec), backend, purpose)
        return [program.entry(program.types(size)).program.backend for size in (1, 2)]

    assert chosen(small) == [single, backend]
    assert chosen(small, "evaluate") == [backend, backend]
    assert chosen(long) == [single, backend]  # in each of the 200 steps 2 x 512 x 1024 = 1.05e6
    assert chosen(large) == [backend, backend]  # 2 x 3 x 3 x 64 x 100 x 32 x 32 = 1.18e8


def test_the_same_steps_in_other_batch_sizes_share_the_moments() -> None:
    sizes = [slice(0, 8), slice(8, 13), slice(13, 21), slice(21, 26)]
    made = [compile(description(), seed=3) for _ in range(2)]
    for rows in sizes:
        made[0].run(batch(rows))
        made[1].entry(made[1].types(30))  # grows the arena in between: all bind again
        made[1].run(batch(rows))
    mine, other = (states(m.network) for m in made)
    assert mine == {name: other[name] for name in mine}


def test_a_seed_draws_anew() -> None:
    made = network(description())
    compile(made, purpose="train").run(batch())
    again = compile(made, seed=5).network
    fresh = network(description(), seed=5)
    assert all((again.parameters[n] == a).all() for n, a in fresh.parameters.items())
    assert again.step == 0


def test_results_are_read_as_numbers_and_arrays() -> None:
    loss = compile(description(), purpose="evaluate").run(batch())["loss"]
    assert float(loss) == np.asarray(loss) == loss.numpy()
    assert repr(loss) == repr(loss.numpy())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"label": None}, DataError, r"a batch needs x, label: missing \['label'\]"),
        ({"extra": np.zeros(8)}, DataError, r"unknown \['extra'\]"),
        ({"label": np.zeros(7, int)}, DataError, "differ in length"),
        (
            {"label": np.full(8, 3)},
            DataError,
            "label 3, the classes are 0 to 2 \\(for 'out'\\)",
        ),
        ({"label": np.array([0] * 7 + [-1])}, DataError, "example 7 has label -1"),
        ({"label": np.array(["a"] * 8)}, DTypeError, "'label' holds <U1"),
        ({"x": np.zeros((8, 3))}, DataError, r"\(8, 3\)"),
    ],
)
def test_batches_that_do_not_fit(change: dict[str, Any], error: type[Exception], message: str) -> None:
    data = {n: a for n, a in {**batch(), **change}.items() if a is not None}
    program = compile(description(), purpose="train")
    before = states(program.network)
    with pytest.raises(error, match=message):
        program.run(data)
    after = states(program.network)
    assert {n: after[n] for n in before} == before


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="known are train, evaluate, predict"):
        compile(description(), purpose="serve")  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="abacus"):
        compile(description(), backend="abacus")
    with pytest.raises(SpecError):
        compile({"layers": []})
    with pytest.raises(TypeError):
        compile(description(), fusoin=False)


def test_a_token_that_the_embedding_lacks_is_an_error() -> None:
    description = {
        "inputs": {"words": {"shape": [2], "dtype": "int64"}},
        "layers": [{"embedding": {"tokens": 5, "units": 3}}, "flatten", {"dense": {"units": 1, "id": "y"}}],
        "loss": {"mse": {"of": "y", "target": "t"}},
    }
    made = network(description)
    words, t = np.array([[0, 4], [1, 5], [2, 3]]), np.zeros((3, 1), np.float32)
    for call in (
        lambda: made.predict(words),
        lambda: compile(made).run({"words": words, "t": t}),
        lambda: train(made, data={"words": words, "t": t}, batch_size=1, progress=False),
    ):
        with pytest.raises(DataError, match="example 1 has token 5, the tokens of 'embedding' are 0 to 4"):
            call()
    with pytest.raises(DataError, match="example 0 has token -1"):
        made.predict(np.array([[2, -1]]))
