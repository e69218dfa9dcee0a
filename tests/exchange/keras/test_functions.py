"""Functions between layers, of models that people write by hand: attention, positions, gates, masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.model import Call, Layer, Out
from tests.exchange.keras.support import check_layers
from tests.exchange.keras.test_operations import ROWS, A, B, X, Y, computed, converted, function, node

LINE, PICTURE = (5, 4), (4, 6, 8)
DRAWN = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)
TABLE = DRAWN[0, :5, :4]
ONE = float(X[0, 0, 0])


def heads(ops: Any, x: Any) -> Any:
    return ops.transpose(ops.reshape(x, (-1, 5, 2, 2)), (0, 2, 1, 3))


def attention(ops: Any, x: Any) -> Any:
    """Of two heads, each of which sees what stands before it alone."""
    q, k = heads(ops, x), heads(ops, 2 * x)
    scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / np.sqrt(2.0)
    seen = ops.softmax(scores + (np.tri(5) - 1) * 1e9)
    return ops.reshape(ops.transpose(ops.matmul(seen, q), (0, 2, 1, 3)), (-1, 5, 4))


LINES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "positions": lambda ops, x, y: [
        x + TABLE, x - TABLE[None], ops.multiply(TABLE, x), x / (TABLE**2 + 1), x * TABLE[:, :1],
        ops.subtract(TABLE, x), ops.maximum(x, TABLE), x * ops.sin(y + TABLE),
    ],
    "elements": lambda ops, x, y: [
        ops.log(ops.square(x) + 1), ops.log1p(ops.abs(x)), ops.expm1(x), ops.sin(x), ops.cos(y), ops.erf(y),
    ],
    "along axes": lambda ops, x, y: [
        ops.max(x, axis=-1), ops.max(x, axis=-1, keepdims=True), ops.min(x, axis=(1, 2)),
        ops.max(x, axis=1, keepdims=True), ops.amax(x, axis=1), ops.amin(x, axis=2), ops.var(x, axis=-1),
        ops.std(x, axis=1, keepdims=True), ops.max(x, axis=(1, 2), keepdims=True), ops.max(x[:, 0], axis=-1),
    ],
    "lengths": lambda ops, x, y: [
        ops.normalize(x), ops.normalize(y, axis=1), ops.normalize(1e-8 * x, axis=-1),
    ],
    "comparisons": lambda ops, x, y: [
        x * ops.cast(truth, "float32")
        for truth in (
            *(x > 0.2, x >= -0.2, x < y, x <= y, ops.equal(ops.relu(x), 0), ops.not_equal(ops.relu(y), 0)),
            *(ops.logical_not(x > TABLE), ops.logical_and(x > 0, ops.less(0.3, y)), ops.greater(0.0, x)),
        )
    ],
    "choices": lambda ops, x, y: [
        ops.where(x > 0, x, y), ops.where(x > 0, x, -1e9), ops.where(y > 0, 0.5, y),
        ops.where(x > y, 1.5, -0.25), ops.where(ops.max(x, axis=-1, keepdims=True) > 1, x, TABLE),
    ],
    "parts": lambda ops, x, y: [
        *ops.split(x, 2, axis=-1), *ops.split(y, [1, 3], axis=1), *ops.unstack(x, axis=1),
        ops.take(x, 1, axis=-1), ops.take(x, [3, 0, -1], axis=2),
    ],
    "repeated": lambda ops, x, y: [
        ops.tile(x, (1, 2, 3)), ops.repeat(x, 3, axis=1), ops.repeat(x, 2, axis=-1), ops.roll(x, 2, axis=1),
        ops.roll(x, (-1, 3), axis=(1, 2)), ops.broadcast_to(x[:, :1, None], (3, 2, 3, 4)),
        ops.pad(x, ((0, 0), (2, 0), (0, 0))), ops.pad(x, ((0, 0), (1, 2), (0, 3))),
    ],
    "arranged": lambda ops, x, y: [
        ops.squeeze(x[:, :1, None], axis=(1, 2)), ops.expand_dims(x, axis=(1, -1)), ops.flip(x, axis=(1, 2)),
        ops.moveaxis(x[:, None], (1, 2), (3, 1)),
    ],
    "products": lambda ops, x, y: [
        x @ TABLE[:3].T, x[:, 0] @ TABLE.T, attention(ops, x), ops.einsum("btc,bsc->bts", x, y),
        ops.einsum("bqhd,bkhd->bhqk", ops.reshape(x, (-1, 5, 2, 2)), ops.reshape(y, (-1, 5, 2, 2))),
        ops.einsum("btc->bct", x), ops.einsum("bi,bj->bij", x[:, 0], y[:, 1]),
    ],
}  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize("name", LINES)
def test_functions_of_lines(name: str) -> None:
    from keras import ops

    check_layers(None, LINE, LINE, call=lambda x, y: [*LINES[name](ops, x, y), x * y])


@pytest.mark.peers
def test_gates_of_channels_and_of_places() -> None:
    """Squeeze and excitation, CBAM, the shuffle of channels, windows that shift."""
    import keras
    from keras import ops

    def call(x: Any) -> Any:
        squeezed = keras.layers.Dense(8, activation="sigmoid")(ops.mean(x, axis=(1, 2), keepdims=True))
        both = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
        place = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(
            ops.concatenate(both, axis=-1)
        )
        first = keras.layers.Conv2D(4, 2, data_format="channels_first")(x)
        left, right = ops.split(x, 2, axis=-1)
        return [
            *(
                x * squeezed,
                x * place,
                ops.concatenate([right, left], axis=-1),
                ops.roll(x, (-1, -2), axis=(1, 2)),
            ),
            *(ops.max(first, axis=1, keepdims=True), ops.max(x, axis=1), ops.max(x, axis=(1, 3))),
            *(
                ops.pad(x, ((0, 0), (1, 2), (1, 1), (0, 0)), mode="reflect"),
                ops.pad(x, ((0, 0), (1, 0), (2, 1), (0, 0)), mode="edge"),
                ops.pad(x, ((0, 0),) * 3 + ((0, 3),)),
            ),
        ]

    check_layers(None, PICTURE, call=call)


@pytest.mark.peers
def test_masks_of_tokens() -> None:
    """As the transformers of tutorials have it."""
    import keras
    from keras import ops

    def call(tokens: Any) -> Any:
        x = keras.layers.Embedding(5, 4)(tokens)
        padded = ops.cast(ops.equal(tokens, 0), "float32")[:, None, :]
        scores = ops.matmul(x, ops.swapaxes(x, 1, 2)) + padded * -1e9
        seen = ops.expand_dims(ops.greater(tokens, 0), -1)
        return [ops.matmul(ops.softmax(scores), x), ops.where(seen, x, 0.0)]

    check_layers(None, (6,), call=call, tokens=5)


def operation(kind: str, **config: Any) -> Layer:
    return Layer("it", f"ops.{kind}", config, (Call((A,), {}),))


def of_truth(name: str, *args: Any) -> list[Layer]:
    """The numbers of the truths that a function gives."""
    truth = Layer("truth", "TFOpLambda", {"name": "truth", "function": name}, (Call(args, {}),))
    return [function("cast", Out("truth"), dtype="float32"), truth]


def root(x: np.ndarray, **how: Any) -> np.ndarray:
    return np.sqrt(np.maximum((x**2).sum(**how), 1e-12))


@pytest.mark.parametrize(
    ("layer", "right"),
    [
        (function("math.reduce_max", A, axis=-1, keepdims=True), X.max(-1, keepdims=True)),
        (function("math.reduce_variance", A, axis=1), X.var(1)),
        (function("math.reduce_std", A, axis=[1, 2]), X.std((1, 2))),
        (function("math.l2_normalize", A, axis=-1), X / root(X, axis=-1, keepdims=True)),
        (
            function("math.l2_normalize", A, axis=1, epsilon=9.0),
            X / np.maximum(root(X, axis=1, keepdims=True), 3),
        ),
        (function("math.sin", A), np.sin(X)),
        (function("tile", A, multiples=[1, 2, 1]), np.tile(X, (1, 2, 1))),
        (function("repeat", A, repeats=2, axis=1), X.repeat(2, 1)),
        (function("broadcast_to", A, shape=[-1, 3, 4]), X),
        (function("roll", A, shift=1, axis=-1), np.roll(X, 1, -1)),
        (function("gather", A, indices=[2, 0], axis=1), X[:, [2, 0]]),
        (function("pad", A, [[0, 0], [1, 2], [0, 0]]), np.pad(X, ((0, 0), (1, 2), (0, 0)))),
        (
            operation("Norm", ord=None, axis=-1, keepdims=False),
            root(X, axis=-1),
        ),  # which fails in Keras on JAX
        (operation("Norm", ord=2, axis=[1], keepdims=True), root(X, axis=1, keepdims=True)),
        (
            function("linalg.matmul", A, [[1.0, 0, 2, 0]], transpose_b=True),
            X @ np.array([[1], [0], [2], [0]]),
        ),
        (function("einsum", "btc,bsc->bts", A, B), np.einsum("btc,bsc->bts", X, Y)),
        (function("einsum", "btc,bsc->bts", inputs=[A, B]), np.einsum("btc,bsc->bts", X, Y)),
        (function("math.add", A, [[1.0], [2.0], [3.0]]), X + ROWS),
        (node("Tile", A, constants={"1": [1, 1, 3]}, Tmultiples={"type": "DT_INT32"}), np.tile(X, (1, 1, 3))),
    ],
)
def test_functions_of_tensorflow(layer: Any, right: Any) -> None:
    np.testing.assert_allclose(computed(layer), right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("made", "right"),
    [
        (of_truth("math.greater", A, B), X > Y),
        (of_truth("math.less_equal", A, 0.0), X <= 0),
        (of_truth("math.greater_equal", 0.0, A), X <= 0),
        (of_truth("__operators__.ne", A, ONE), ONE != X),
        (of_truth("math.equal", A, ONE), ONE == X),
        (of_truth("math.greater", A, ONE), ONE < X),
        (of_truth("math.less", A, [0.0, 0.5, -0.5, 1.0]), X < [0, 0.5, -0.5, 1]),
    ],
)
def test_truths_of_tensorflow(made: list[Layer], right: np.ndarray) -> None:
    np.testing.assert_array_equal(computed(*made), right)


def test_several_results_of_tensorflow() -> None:
    """tf.split has sizes, where Keras has places."""
    parts = Layer("parts", "TFOpLambda", {"function": "split"}, (Call((A, [1, -1]), {"axis": -1}),))
    for index, right in enumerate((X[..., :1], X[..., 1:])):
        last = function("math.negative", Out("parts", 0, index))
        np.testing.assert_array_equal(computed(last, parts), -right)


def test_pixels_of_channels() -> None:
    x = np.arange(2 * 2 * 3 * 8, dtype=np.float32).reshape(2, 2, 3, 8)
    wide = x.reshape(2, 2, 3, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 4, 6, 2)
    np.testing.assert_array_equal(computed(function("nn.depth_to_space", A, block_size=2), x=x, y=x), wide)
    back = function("nn.space_to_depth", A, block_size=2)
    np.testing.assert_array_equal(computed(back, x=wide, y=wide), x)


def test_constants_are_not_trained() -> None:
    made = converted(function("linalg.matmul", A, np.eye(4).tolist()))
    assert made.builder.layers[0]["dense"]["trainable"] is False


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (function("signal.fft", A), "is not known; map it to a block"),
        (function("math.pow", A, B), "a power is supported of a value to a number"),
        (function("math.reduce_std", A), "axis is None; supported: 1 to 2, or from the end; the examples of"),
        (function("math.l2_normalize", A, axis=[1, 2]), "one axis is supported"),
        (function("norm", A, ord=1, axis=-1), "a norm of the order 1"),
        (function("tile", A, multiples=[2, 1, 1]), "the examples of a batch stay as many here"),
        (function("tile", A, multiples=[1, 0, 1]), "how often is 0; expected a whole number of at least 1"),
        (function("repeat", A, repeats=2), "axis is None"),
        (function("broadcast_to", A, shape=[-1, 3, 8]), "axis 2 has not the size 1"),
        (function("roll", A, shift=1, axis=0), "axis is 0; supported"),
        (function("gather", A, indices=[7], axis=1), "take finds no place 7 among 3 along axis 1"),
        (function("gather", A, indices=[0.5], axis=1), "is not supported: one is, or a list"),
        (function("split", A, 3, axis=-1), "split by 3 of an axis of 4"),
        (function("split", A, [3, 3], axis=-1), "of an axis of 4 is not supported: parts of it are"),
        (function("unstack", A, num=2, axis=1), "into 2: all places of a known size are supported"),
        (function("pad", A, [[1, 0], [0, 0], [0, 0]]), r"\[0, 0\] of examples"),
        (function("pad", A, [[0, 0], [1, 0], [0, 0]], constant_values=1.0), "pad is supported with zeros"),
        (
            function("pad", A, [[0, 0], [1, 0], [0, 0]], mode="SYMMETRIC"),
            "in the modes constant, reflect, edge",
        ),
        (function("nn.depth_to_space", A, block_size=2), "of pictures of a known size"),
        (function("where", A, B, 0.0), "truths are supported that the model computes by a comparison"),
        (function("where", A), "of a condition and two values"),
        (function("math.greater", A, "x"), "'x' is no number"),
        (function("linalg.matmul", [[1.0]], A), "a value with another, or with a constant matrix"),
        (function("linalg.matmul", A, [1.0, 2.0]), r"with a constant of shape \[2\]: a matrix is"),
        (
            function("einsum", "btc,cd->btd", A, [[1.0]]),
            "einsum is supported of values that the model computes",
        ),
        (function("einsum", "btc,bsc->ts", A, B), "one letter, of the batch, in front of each"),
        (function("einsum", "btc->bc", A), "another order of its axes is"),
    ],
)
def test_what_is_refused(made: Layer, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        converted(made)
