"""Comparisons and choices, beside Keras or worked by hand; and what masks functions leave behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.imported import load
from cortex_core.exchange.keras.model import Layer
from cortex_core.probe import activations
from tests.exchange.keras.test_functions import ONE, TABLE, of_truth
from tests.exchange.keras.test_operations import A, B, X, Y, computed

LINE = (5, 4)
NAN, INF = np.nan, np.inf
NAMES = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


def check_same(call: Callable[..., Any], *inputs: np.ndarray) -> None:
    """The outputs are Keras's to the last bits, also where they are infinite or no number."""
    import keras

    given = [keras.Input(x.shape[1:], dtype=str(x.dtype)) for x in inputs]
    model = keras.Model(given, call(*given))
    wanted = [np.asarray(y) for y in keras.tree.flatten(model([*inputs]))]
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        found = load(Path(folder) / "model.keras")
    names, outputs = ([v.source for v in x] for x in (found.converted.inputs, found.converted.outputs))
    ours = activations(found.network, dict(zip(names, inputs)), outputs)
    for number, (name, right) in enumerate(zip(outputs, wanted, strict=True)):
        np.testing.assert_allclose(ours[name], right, rtol=1e-6, atol=1e-6, err_msg=f"output {number}")


def numbers(ops: Any, *truths: Any) -> list[Any]:
    return [ops.cast(truth, "float32") for truth in truths]


@pytest.mark.peers
def test_ties_infinities_and_what_is_no_number() -> None:
    from keras import ops

    x = np.float32([[0.1, NAN, INF, -INF, 2.0, 0.0], [0.2, 1.0, INF, 3.0, NAN, 0.1]])
    y = np.float32([[0.1, NAN, INF, INF, NAN, -0.0], [0.1, 1.0, -INF, 2.0, 1.0, 0.3]])
    row = np.float32([0.1, 3.0, 3e38, -3e38, 2.0, 0.0])

    def call(a: Any, b: Any) -> list[Any]:
        compared = [getattr(ops, name) for name in NAMES]
        return numbers(
            ops, *(c(a, b) for c in compared), *(c(a, 0.1) for c in compared), *(c(0.1, a) for c in compared),
            *(c(a, row) for c in compared), *(c(row, a) for c in compared),
        )  # fmt: skip

    check_same(call, x, y)


@pytest.mark.peers
def test_ids_are_compared_as_whole_numbers() -> None:
    from keras import ops

    x = np.array([[2**24, 2**24 + 1, 0, -1], [2**24 + 1, 2**24 + 1, 3, 5]], np.int32)
    y = np.array([[2**24 + 1, 2**24 + 1, 1, -1], [2**24, 7, 3, 4]], np.int32)

    def call(a: Any, b: Any) -> list[Any]:
        compared = [getattr(ops, name) for name in NAMES]
        return numbers(
            ops, *(c(a, b) for c in compared), *(c(a, 2**24) for c in compared),
            *(c(a, 0.5) for c in compared), *(c(a, 16777216.0) for c in compared),
            *(c(a, ops.cast(b, "float32")) for c in compared),
            *(c(a, np.array([1, 2, 3, 5])) for c in compared),
        )  # fmt: skip

    check_same(call, x, y)


@pytest.mark.peers
def test_bytes_are_compared_with_fractions() -> None:
    from keras import ops

    x = np.array([[0, 1, 200, 255], [3, 100, 101, 7]], np.uint8)
    check_same(lambda a: numbers(ops, a > 100, ops.less(a, 300.0), ops.greater(a, -0.5), a >= 0.5), x)


@pytest.mark.peers
def test_what_is_not_chosen_may_be_no_number() -> None:
    """That is what such a choice is for: a logarithm of what is positive, a quotient that is not 0 / 0."""
    from keras import ops

    x = np.random.default_rng(0).normal(size=(3, *LINE)).astype(np.float32)
    y = np.maximum(np.random.default_rng(1).normal(size=(3, *LINE)), 0).astype(np.float32)

    def call(a: Any, b: Any) -> list[Any]:
        return [
            ops.where(a > 0, ops.log(a), 0.0), ops.where(ops.equal(b, 0), 0.0, a * b / b),
            ops.where(a > 0, TABLE, ops.log(-a)), ops.where(a[:, :, :1] > 0, TABLE, 0.0),
            ops.where(a[:, :1] > 0, TABLE, -TABLE), ops.where(a > 0, 1.5, -0.25),
            ops.where(a > 0, a, b[:, :1]),
        ]  # fmt: skip

    check_same(call, x, y)


@pytest.mark.peers
def test_choices_keep_whole_types() -> None:
    from keras import layers, ops

    ids = np.array([[2**24 + 1, 2, 0], [1, 2**24 - 1, 4]], np.int32)

    def of_ids(t: Any) -> list[Any]:
        kept = ops.where(t > 2, ops.where(t > 2**24, 7, t), 0)
        small = ops.where(t > 7, 7, t)
        table = layers.Embedding(8, 2)
        return [
            ops.cast(ops.equal(kept, t), "float32"), table(small), ops.where(t > 2, t, 0.5),
            ops.where(t > 2, 3, 1) / 2,
        ]  # fmt: skip

    check_same(of_ids, ids)
    bytes_ = np.array([[0, 100, 101, 255]], np.uint8)
    check_same(lambda x: [ops.where(x > 100, x, 0) / 2, ops.where(x > 100, x, 0.5)], bytes_)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda ops, x: ops.where(x > 100, x, 0) + x, "add of uint8: Keras computes in that type"),
        (lambda ops, x: ops.where(x > 100, x, -1), "numbers beside uint8 that it does not hold"),
        (lambda ops, x: ops.less(x, 300), "numbers beside uint8 that it does not hold"),
        (lambda ops, x: ops.maximum(x, 300), "numbers beside uint8 that it does not hold"),
        (lambda ops, x: ops.clip(x, -1, 7), "numbers beside uint8 that it does not hold"),
        (lambda ops, x: ops.greater(-1, x), "numbers beside uint8 that it does not hold"),
        (lambda ops, x: ops.where(x > 100, x, np.arange(4)), "where of uint8: Keras computes in that type"),
        (lambda ops, x: ops.sum(ops.where(x > 100, 1, 0), axis=1), "sum of int32: Keras computes in that"),
    ],
)
def test_numbers_that_wrap_in_keras_are_refused(made: Callable[..., Any], told: str) -> None:
    from keras import ops

    with pytest.raises(SpecError, match=told):
        check_same(lambda x: [made(ops, x)], np.array([[0, 100, 101, 255]], np.uint8))


# Masks of functions that have nothing to do: those of Keras's array, where it stays the same array

NO_MASK: dict[str, Callable[[Any, Any], Any]] = {
    "tile": lambda ops, x: ops.tile(x, (1, 1, 1)),
    "repeat": lambda ops, x: ops.repeat(x, 1, axis=1),
    "roll": lambda ops, x: ops.roll(x, 0, axis=1),
    "roll by the size": lambda ops, x: ops.roll(x, 5, axis=1),
    "copy": lambda ops, x: ops.copy(x),
    "split": lambda ops, x: ops.split(x, 1, axis=-1)[0],
    "pad": lambda ops, x: ops.pad(x, ((0, 0),) * 3),
    "flip": lambda ops, x: ops.flip(x, axis=1),
}
DIFFERS: dict[str, Callable[[Any, Any], Any]] = {
    "moveaxis": lambda ops, x: ops.moveaxis(x, 1, 1),
    "swapaxes": lambda ops, x: ops.swapaxes(x, 1, 1),
    "transpose": lambda ops, x: ops.transpose(x, (0, 1, 2)),
    "broadcastto": lambda ops, x: ops.broadcast_to(x, (3, 5, 4)),
    "getitem": lambda ops, x: x[:, :],
    "cast": lambda ops, x: ops.cast(x, "float32"),
    "reshape": lambda ops, x: ops.reshape(x, (-1, 5, 4)),
    "concatenate": lambda ops, x: ops.concatenate([x], axis=-1),
    "einsum": lambda ops, x: ops.einsum("btc->btc", x),
    "converttotensor": lambda ops, x: ops.convert_to_tensor(x),
    "stopgradient": lambda ops, x: ops.stop_gradient(x),
}


def behind_masking(made: Callable[[Any, Any], Any]) -> None:
    from keras import layers, ops

    x = np.random.default_rng(0).normal(size=(3, *LINE)).astype(np.float32)
    x[0, 3:] = x[1, 1:] = 0
    check_same(lambda a: [layers.LSTM(4)(made(ops, layers.Masking()(a)))], x)


@pytest.mark.peers
@pytest.mark.parametrize("name", NO_MASK)
def test_functions_that_leave_no_mask(name: str) -> None:
    behind_masking(NO_MASK[name])


@pytest.mark.peers
@pytest.mark.parametrize("name", DIFFERS)
def test_functions_whose_masks_differ_between_backends_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=f"{name} that leaves a masked value as it is: some backends"):
        behind_masking(DIFFERS[name])


# Worked by hand


FLAGS = [
    (of_truth("math.equal", A, ONE), ONE == X),
    (of_truth("math.not_equal", A, ONE), ONE != X),
    (of_truth("math.less", A, ONE), X < ONE),
    (of_truth("math.less_equal", A, ONE), X <= ONE),
    (of_truth("math.greater", A, ONE), X > ONE),
    (of_truth("math.greater_equal", A, ONE), X >= ONE),
    (of_truth("math.less", ONE, A), X > ONE),
    (of_truth("math.less_equal", ONE, A), X >= ONE),
    (of_truth("math.greater", ONE, A), X < ONE),
    (of_truth("math.greater_equal", ONE, A), X <= ONE),
    (of_truth("__operators__.eq", ONE, A), X == ONE),
    (of_truth("__operators__.ne", A, B), X != Y),
]


@pytest.mark.parametrize(("made", "right"), FLAGS)
def test_ties(made: list[Layer], right: np.ndarray) -> None:
    np.testing.assert_array_equal(computed(*made), right)
