"""What each layer computes, and what it says of shapes that do not suit it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError, SpecError
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

rng = np.random.default_rng(3)


def layer(name: str, **fields: Any) -> Any:
    return LAYERS[name](**fields)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape)


def test_dense_is_a_product_over_the_last_axis() -> None:
    x, w, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5)), rng.normal(size=5)
    plain = Used(layer("dense", units=5), x, values={"kernel": w, "bias": b})
    np.testing.assert_allclose(plain.y, np.einsum("bti,io->bto", x, w) + b, rtol=1e-13)
    bent = Used(layer("dense", units=5, activation="relu", use_bias=False), x[:, 0], values={"kernel": w})
    np.testing.assert_allclose(bent.y, np.maximum(x[:, 0] @ w, 0), rtol=1e-13)
    assert list(bent.parameters) == ["kernel"]


def test_dense_needs_an_axis_beside_the_batch() -> None:
    with pytest.raises(ShapeError, match=r"the input is \(\): dense needs at least one axis"):
        Used(layer("dense", units=5, kernel_initializer="ones"), np.zeros(4))


def convolved(x: np.ndarray, w: np.ndarray, stride: int, pad: tuple[int, int], dilation: int) -> np.ndarray:
    """A convolution of (B, H, W, C) by loops, equal on both axes."""
    x = np.pad(x, ((0, 0), pad, pad, (0, 0)))
    k = w.shape[0]
    n = [(s - (k - 1) * dilation - 1) // stride + 1 for s in x.shape[1:3]]
    y = np.zeros((len(x), *n, w.shape[-1]))
    for i, j, a, b in itertools.product(range(n[0]), range(n[1]), range(k), range(k)):
        y[:, i, j] += x[:, i * stride + a * dilation, j * stride + b * dilation] @ w[a, b]
    return y


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "pad"),
    [
        (5, 3, 1, "valid", 1, (0, 0)),
        (5, 3, 1, "same", 1, (1, 1)),
        (5, 2, 2, "same", 1, (0, 1)),  # 3 windows need 6 elements: the surplus goes behind
        (6, 3, 2, "same", 1, (0, 1)),
        (5, 4, 1, "same", 1, (1, 2)),
        (7, 3, 1, "same", 2, (2, 2)),
        (4, 1, 2, "same", 1, (0, 0)),  # nothing to add, though the last element is left out
        (5, 3, 2, 2, 1, (2, 2)),
        (5, 3, 1, [[2, 0], [2, 0]], 1, (2, 0)),
    ],
)
def test_conv2d(
    size: int, kernel: int, stride: int, padding: Any, dilation: int, pad: tuple[int, int]
) -> None:
    x, w = images(2, size, size, 3), rng.normal(size=(kernel, kernel, 3, 4))
    fields = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    conv = layer("conv2d", filters=4, **fields)
    y = Used(conv, x, values={"kernel": w, "bias": np.arange(4.0)}).y
    np.testing.assert_allclose(
        y, convolved(x, w, stride, pad, dilation) + np.arange(4), rtol=1e-12, atol=1e-12
    )
    if padding == "same":
        assert y.shape == (2, -(-size // stride), -(-size // stride), 4)


def test_conv1d_in_groups_keeps_the_channels_apart() -> None:
    x, w = images(2, 6, 4), rng.normal(size=(3, 2, 6))
    y = Used(layer("conv1d", filters=6, kernel=3, groups=2, use_bias=False), x, values={"kernel": w}).y
    halves = [
        sum(x[:, k : k + 4, 2 * g : 2 * g + 2] @ w[k, :, 3 * g : 3 * g + 3] for k in range(3)) for g in (0, 1)
    ]
    np.testing.assert_allclose(y, np.concatenate(halves, -1), rtol=1e-12, atol=1e-12)


def test_conv_says_what_is_wrong() -> None:
    conv = layer("conv2d", filters=4, kernel=5, kernel_initializer="ones")
    with pytest.raises(ShapeError, match=r"the input is \(784,\): conv2d needs \(height, width, channels\)"):
        Used(conv, np.zeros((2, 784)))
    with pytest.raises(ShapeError, match=r"the input is \(4, 9, 1\): conv2d has a window of \(5, 5\)"):
        Used(conv, np.zeros((2, 4, 9, 1)))
    grouped = layer("conv2d", filters=4, kernel=1, groups=2)
    with pytest.raises(ShapeError, match="conv2d cannot split 3 channels into 2 groups"):
        Used(grouped, np.zeros((2, 4, 9, 3)))


def windows(x: np.ndarray, size: int, stride: int, pad: tuple[int, int], f: Any) -> np.ndarray:
    """``f`` over each window of (B, H, W, C); what pads is NaN."""
    x = np.pad(x, ((0, 0), pad, pad, (0, 0)), constant_values=np.nan)
    n = [(s - size) // stride + 1 for s in x.shape[1:3]]
    y = np.zeros((len(x), *n, x.shape[-1]))
    for i, j in itertools.product(range(n[0]), range(n[1])):
        y[:, i, j] = f(x[:, i * stride : i * stride + size, j * stride : j * stride + size], axis=(1, 2))
    return y


@pytest.mark.parametrize(
    ("fields", "stride", "pad"),
    [
        ({"size": 2}, 2, (0, 0)),
        ({"size": 3, "stride": 2, "padding": "same"}, 2, (1, 1)),
        ({"size": 2, "stride": 2, "padding": "same"}, 2, (0, 1)),
        ({"size": 2, "stride": 1, "padding": 1}, 1, (1, 1)),
    ],
)
def test_pooling_over_windows(fields: dict[str, Any], stride: int, pad: tuple[int, int]) -> None:
    x = images(2, 5, 5, 3)
    for name, f in (("max_pool2d", np.nanmax), ("avg_pool2d", np.nanmean)):
        wanted = windows(x, fields["size"], stride, pad, f)
        np.testing.assert_allclose(Used(layer(name, **fields), x).y, wanted, rtol=1e-13)


def test_pooling_of_sequences_and_over_everything() -> None:
    x = images(2, 6, 3)
    np.testing.assert_array_equal(Used(layer("max_pool1d", size=3), x).y, x.reshape(2, 2, 3, 3).max(2))
    np.testing.assert_allclose(Used(layer("avg_pool1d", size=2), x).y, x.reshape(2, 3, 2, 3).mean(2))
    np.testing.assert_array_equal(Used(layer("global_max_pool1d"), x).y, x.max(1))
    np.testing.assert_allclose(Used(layer("global_avg_pool1d"), x).y, x.mean(1))
    square = images(2, 3, 4, 5)
    np.testing.assert_array_equal(Used(layer("global_max_pool2d"), square).y, square.max((1, 2)))
    np.testing.assert_allclose(Used(layer("global_avg_pool2d"), square).y, square.mean((1, 2)))
    with pytest.raises(ShapeError, match=r"\(6, 3\): global_avg_pool2d needs \(height, width, channels\)"):
        Used(layer("global_avg_pool2d"), x)
    with pytest.raises(ShapeError, match=r"\(3, 4, 5\): max_pool1d needs \(length, channels\)"):
        Used(layer("max_pool1d", size=2), square)


def test_batch_norm_in_training() -> None:
    x = 3 + 2 * images(4, 3, 3, 2)
    used = Used(layer("batch_norm", momentum=0.8, epsilon=1e-3), x, values={"scale": np.array([2.0, -1.0])})
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(
        used.y, (x - mean) / np.sqrt(variance + 1e-3) * [2, -1], rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(used.updates["moving_mean"].numpy(), 0.2 * mean)
    unbiased = x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(used.updates["moving_variance"].numpy(), 0.8 + 0.2 * unbiased)


def test_batch_norm_in_prediction_uses_the_moving_statistics_and_changes_nothing() -> None:
    x = images(4, 3)
    values = {"moving_mean": np.array([1.0, 2, 3]), "moving_variance": np.array([4.0, 1, 9])}
    used = Used(layer("batch_norm", epsilon=1e-9), x, training=False, values=values)
    np.testing.assert_allclose(used.y, (x - [1, 2, 3]) / [2, 1, 3], rtol=1e-8)
    assert used.updates == {}


def test_batch_norm_without_scale_and_center_and_of_one_sample() -> None:
    x = images(1, 4)
    used = Used(layer("batch_norm", scale=False, center=False), x)
    assert list(used.parameters) == ["moving_mean", "moving_variance"]
    assert not used.y.any()
    assert np.isfinite(used.updates["moving_variance"].numpy()).all()


def test_batch_norm_of_each_element() -> None:
    """The moving variance is the ancestor's and PyTorch's: corrected by n - 1, n the batch alone."""
    x = 3 + 2 * images(5, 2, 3)
    scale, shift = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    norm = layer("batch_norm", mode="elementwise", epsilon=1e-3)
    used = Used(norm, x, values={"scale": scale, "shift": shift})
    wanted = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) * scale + shift
    np.testing.assert_allclose(used.y, wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(used.updates["moving_mean"].numpy(), 0.1 * x.mean(0))
    np.testing.assert_allclose(used.updates["moving_variance"].numpy(), 0.9 + 0.1 * x.var(0, ddof=1))
    moving = {"moving_mean": scale, "moving_variance": shift**2}
    rest = Used(norm, x, training=False, values=moving)
    np.testing.assert_allclose(rest.y, (x - scale) / np.sqrt(shift**2 + 1e-3), rtol=1e-12)
    flat = Used(norm, x[:, 0])
    np.testing.assert_array_equal(flat.y, Used(layer("batch_norm", epsilon=1e-3), x[:, 0]).y)


def test_layer_norm() -> None:
    x = images(2, 3, 8)
    used = Used(layer("layer_norm", epsilon=1e-3), x, values={"shift": np.arange(8.0)})
    wanted = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3) + np.arange(8)
    np.testing.assert_allclose(used.y, wanted, rtol=1e-12, atol=1e-12)
    with pytest.raises(ShapeError, match="layer_norm needs at least one axis"):
        Used(layer("layer_norm"), np.zeros(3))


def test_rms_norm() -> None:
    x = images(2, 3, 8)
    used = Used(layer("rms_norm", epsilon=1e-3), x, values={"scale": np.arange(8.0)})
    wanted = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-3) * np.arange(8)
    np.testing.assert_allclose(used.y, wanted, rtol=1e-12, atol=1e-12)
    assert not Used(layer("rms_norm", scale=False), x).parameters
    with pytest.raises(ShapeError, match="rms_norm needs at least one axis"):
        Used(layer("rms_norm"), np.zeros(3))


def test_group_norm() -> None:
    x = images(2, 3, 5, 8)
    values = {"scale": np.arange(8.0), "shift": np.ones(8)}
    used = Used(layer("group_norm", groups=4, epsilon=1e-3), x, values=values)
    for c in (0, 2, 4, 6):
        part = x[1, :, :, c : c + 2]
        wanted = (part - part.mean()) / np.sqrt(part.var() + 1e-3) * [c, c + 1] + 1
        np.testing.assert_allclose(used.y[1, :, :, c : c + 2], wanted, rtol=1e-11, atol=1e-12)
    with pytest.raises(ShapeError, match="group_norm needs channels that divide into 3 groups"):
        Used(layer("group_norm", groups=3), x)


def test_dropout_drops_a_share_and_keeps_the_mean() -> None:
    x = np.ones((200, 100))
    y = Used(layer("dropout", rate=0.3), x).y
    keep = round(0.7 * 65536) / 65536  # what the draws give, and so what must be divided by
    assert set(np.unique(y)) == {0.0, 1 / keep}
    assert abs((y == 0).mean() - 0.3) < 4 * np.sqrt(0.21 / 20000)


def test_dropout_repeats_by_key_and_path_and_rests_in_prediction() -> None:
    x = images(8, 8)
    drop = layer("dropout", rate=0.5)
    y = Used(drop, x).y
    np.testing.assert_array_equal(y, Used(drop, x).y)
    assert (Used(drop, x, path="other").y != y).any()
    assert (Used(drop, x, key=(0, 1)).y != y).any()
    assert (Used(drop, x, key=(1, 0)).y != y).any()
    np.testing.assert_array_equal(Used(drop, x, training=False).y, x)
    np.testing.assert_array_equal(Used(layer("dropout", rate=0), x).y, x)


def test_dropout_of_nearly_everything_stays_finite() -> None:
    y = Used(layer("dropout", rate=1 - 1e-9), np.ones((3, 3))).y
    assert not y.any()


def test_dropout_gradient_goes_where_the_mask_was() -> None:
    used = Used(layer("dropout", rate=0.5), images(6, 6))
    used.output.sum().backward()
    np.testing.assert_array_equal(used.inputs[0].grad.numpy() != 0, used.y != 0)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("dropout", (2, 3)), ("spatial_dropout1d", (2, 3, 4)), ("spatial_dropout2d", (2, 3, 3, 1))],
)
@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_of_floating_numbers(name: str, shape: tuple[int, ...], training: bool) -> None:
    """Whole numbers would be floating in training, and stay whole in prediction."""
    with pytest.raises(DTypeError, match=f"{name} needs a floating type, not int64; an input says so by"):
        Used(layer(name, rate=0.5), np.ones(shape, np.int64), training=training)


def test_embedding_takes_rows() -> None:
    table = rng.normal(size=(5, 3))
    ids = np.array([[0, 4], [2, 2]])
    used = Used(layer("embedding", tokens=5, units=3), ids.astype(np.int32), values={"table": table})
    np.testing.assert_array_equal(used.y, table[ids])


def test_embedding_needs_whole_numbers() -> None:
    with pytest.raises(DTypeError, match="embedding needs whole numbers, not float64"):
        Used(layer("embedding", tokens=5, units=3), np.zeros((2, 2)))


MERGING: dict[str, Any] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "average": lambda a, b: (a + b) / 2,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def test_merging() -> None:
    a, b, c = (images(2, 3) + i for i in range(3))
    np.testing.assert_allclose(Used(layer("add"), a, b, c).y, a + b + c)
    np.testing.assert_allclose(Used(layer("multiply"), a, b, c).y, a * b * c)
    wide = images(2, 5)
    np.testing.assert_array_equal(Used(layer("concatenate"), a, wide).y, np.concatenate([a, wide], 1))
    deep = images(2, 3, 4)
    joined = Used(layer("concatenate", axis=1), deep, deep[:, :1]).y
    np.testing.assert_array_equal(joined, np.concatenate([deep, deep[:, :1]], 1))


@pytest.mark.parametrize("name", MERGING)
def test_merging_names_both_shapes(name: str) -> None:
    x, y = np.zeros((2, 32, 32, 16)), np.zeros((2, 16, 16, 32))
    with pytest.raises(ShapeError) as caught:
        Used(layer(name), x, y)
    shapes = "input 0 is (32, 32, 16), input 1 is (16, 16, 32)"
    needs = f"{name} needs equal shapes, or 1 along an axis"
    assert str(caught.value) == f"{shapes}: {needs}"
    assert caught.value.reason == needs


def test_what_is_made_of_an_element_of_each() -> None:
    a, b = images(2, 3, 4), images(2, 1, 4) + 2
    for name, wanted in MERGING.items():
        np.testing.assert_allclose(Used(layer(name), a, b).y, wanted(a, b), rtol=1e-13)
    c = images(2, 3, 1) - 1
    np.testing.assert_allclose(Used(layer("average"), a, b, c).y, (a + b + c) / 3, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(Used(layer("minimum"), a, b, c).y, np.minimum(np.minimum(a, b), c))


def test_adding_what_holds_for_all_of_an_axis() -> None:
    x, row = images(2, 4, 3), images(2, 1, 3)
    used = Used(layer("add"), x, row)
    used.output.sum().backward()
    np.testing.assert_array_equal(used.inputs[1].grad.numpy(), np.full((2, 1, 3), 4.0))


def test_multiplying_takes_a_factor_for_all_of_an_axis() -> None:
    x, gate, rows = images(2, 4, 5, 3), images(2, 1, 1, 3), images(2, 4, 1, 1)
    used = Used(layer("multiply"), x, gate, rows)
    np.testing.assert_allclose(used.y, x * gate * rows, rtol=1e-13)
    used.output.sum().backward()
    wanted = (x * rows).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(used.inputs[1].grad.numpy(), wanted, rtol=1e-12)
    with pytest.raises(ShapeError, match="multiply needs equal shapes, or 1 along an axis"):
        Used(layer("multiply"), x, gate[:, 0])
    with pytest.raises(ShapeError, match="multiply needs equal shapes, or 1 along an axis"):
        Used(layer("multiply"), x, images(2, 2, 1, 3))


ODD = np.array(
    [[1.0, np.nan, np.inf, -np.inf, 2.0, 2**24 + 1], [1.5, np.nan, np.inf, np.inf, -np.nan, 2**24]]
)
OPERATIONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_compare(operation: str) -> None:
    """As NumPy does, with ties, infinities and what is no number; ids stay whole."""
    of_numpy = getattr(np, operation)
    for x, y in ((ODD, ODD[::-1]), (ODD, ODD[:, :1]), (ODD.astype(np.float32), ODD[::-1].astype(np.float32))):
        np.testing.assert_array_equal(Used(layer("compare", operation=operation), x, y).y, of_numpy(x, y))
    ids = np.array([[2**24, 2**24 + 1, 0, -1, 2**53 + 1]])
    np.testing.assert_array_equal(Used(layer("compare", operation=operation), ids, ids[:, ::-1]).y,
                                  of_numpy(ids, ids[:, ::-1]))  # fmt: skip
    for x, value in ((ODD, 1.0), (ids, 2.0**24), (ids, 0.5), (ids, 0.0), (ids, 1e300)):
        found = Used(layer("compare", operation=operation, value=value), x).y
        np.testing.assert_array_equal(found, of_numpy(x, value))


def test_compare_needs_one_thing_to_compare_with() -> None:
    x = images(2, 3)
    for fields, inputs in (({}, [x]), ({"value": 1}, [x, x])):
        with pytest.raises(ShapeError, match="compare needs two inputs, or one and a value"):
            Used(layer("compare", operation="less", **fields), *inputs)


def test_where() -> None:
    a, b, condition = images(2, 3, 4), images(2, 1, 4), images(2, 3, 1) > 0
    np.testing.assert_array_equal(Used(layer("where"), condition, a, b).y, np.where(condition, a, b))
    odd = np.where(condition, a, np.nan)
    for fields, right in (({"otherwise": 0}, (a, 0)), ({"then": 0.5}, (0.5, a))):
        found = Used(layer("where", **fields), condition, odd if "otherwise" in fields else a).y
        np.testing.assert_array_equal(found, np.where(condition, *right))
    found = Used(layer("where", then=1.5, otherwise=-0.25), condition).y
    np.testing.assert_array_equal(found, np.where(condition, 1.5, -0.25))


def test_where_keeps_whole_numbers() -> None:
    x = np.array([[2**24 + 1, 2]])
    found = Used(layer("where", otherwise=0), x > 2, x).y
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, [[2**24 + 1, 0]])
    for fields, inputs in (({"otherwise": 0.5}, [x]), ({}, [x, x / 2])):
        with pytest.raises(DTypeError, match="where needs two of one kind; 'cast' makes floating numbers"):
            Used(layer("where", **fields), x > 2, *inputs)


def test_where_refuses_what_does_not_fit() -> None:
    a = images(2, 3, 4)
    with pytest.raises(DTypeError, match="where needs a condition of truths, not float64; compare makes"):
        Used(layer("where"), a, a, a)
    with pytest.raises(ShapeError, match="where needs equal shapes, or 1 along an axis"):
        Used(layer("where"), a[:, :, 0] > 0, a, a)
    for fields, inputs in (({}, [a]), ({"then": 1}, []), ({"then": 1}, [a, a])):
        with pytest.raises(ShapeError, match="where needs a condition and two inputs, or a number in place"):
            Used(layer("where", **fields), a > 0, *inputs)


def test_einsum() -> None:
    a, b = images(2, 3, 4), images(2, 5, 4)
    for equation in ("btc,bsc->bts", "btc,bsc->bc", "btc,bsc->b", "btc,bsc->bsct"):
        found = Used(layer("einsum", equation=equation), a, b).y
        np.testing.assert_allclose(found, np.einsum(equation, a, b), rtol=1e-12, atol=1e-12)
    with pytest.raises(ShapeError, match="einsum needs inputs with as many axes as 'btc,bs->bts' names"):
        Used(layer("einsum", equation="btc,bs->bts"), a, b)
    with pytest.raises(ShapeError, match="axis 'c' of 'btc,bcs->bts' has size 4, and 5"):
        Used(layer("einsum", equation="btc,bcs->bts"), a, b)


@pytest.mark.parametrize(
    ("equation", "told"),
    [
        ("btc,bsc", "expected letters such as bij,bjk->bik"),
        ("btc->bct", "expected letters such as bij,bjk->bik"),
        ("tc,bsc->bts", "expected one letter, of the batch, in front of each"),
        ("btb,bsc->bts", "expected one letter, of the batch, in front of each"),
        ("btc,bsc->btx", "expected each letter of the result once, and before ->"),
        ("btc,bsc->btt", "expected each letter of the result once, and before ->"),
    ],
)
def test_equations_that_are_refused(equation: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        layer("einsum", equation=equation)


def test_inner_products() -> None:
    a, b = images(2, 3, 5), images(2, 4, 5) + 1
    found = Used(layer("dot", axes=[2, -1]), a, b).y
    np.testing.assert_allclose(found, np.einsum("bin,bjn->bij", a, b), rtol=1e-12)
    found = Used(layer("dot", axes=[1, 2]), images(2, 4, 3), images(2, 5, 4)).y
    np.testing.assert_allclose(found, np.einsum("bni,bjn->bij", images(2, 4, 3), images(2, 5, 4)), rtol=1e-12)
    cosine = Used(layer("dot", normalize=True), np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])).y
    np.testing.assert_allclose(cosine, [[24 / 25]], rtol=1e-14)
    with pytest.raises(ShapeError, match="dot needs as many elements along axis 1 as along 2"):
        Used(layer("dot", axes=[1, 2]), a, b)
    with pytest.raises(ShapeError, match="dot has no axis 3 to sum along"):
        Used(layer("dot", axes=[3, 1]), a, b)


def test_products_of_matrices() -> None:
    """Of each example and head; what is 1 along the axis of the heads holds for all of them."""
    a, b = images(2, 3, 4, 5), images(2, 1, 5, 2)
    used = Used(layer("matmul"), a, b)
    np.testing.assert_allclose(used.y, a @ b, rtol=1e-12)
    used.output.sum().backward()
    wanted = np.broadcast_to(b.sum(-1)[:, :, None], a.shape)
    np.testing.assert_allclose(used.inputs[0].grad.numpy(), wanted, rtol=1e-12)
    with pytest.raises(ShapeError, match=r"matmul needs matrices \(..., m, k\) and \(..., k, n\)"):
        Used(layer("matmul"), a, images(2, 3, 4, 5))
    with pytest.raises(
        ShapeError, match="matmul needs equal sizes, or 1, along the axes before the matrices"
    ):
        Used(layer("matmul"), a, images(2, 2, 5, 2))


def test_concatenate_says_what_is_wrong() -> None:
    with pytest.raises(
        ShapeError, match=r"input 1 is \(4, 3\): concatenate needs shapes that differ on axis -1"
    ):
        Used(layer("concatenate"), np.zeros((2, 3, 3)), np.zeros((2, 4, 3)))
    with pytest.raises(ShapeError, match=r"concatenate has no axis 2"):
        Used(layer("concatenate", axis=2), np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="concatenate"):
        Used(layer("concatenate"), np.zeros((2, 3, 3)), np.zeros((2, 3)))


def test_shapes() -> None:
    x = images(2, 3, 4, 5)
    np.testing.assert_array_equal(Used(layer("flatten"), x).y, x.reshape(2, 60))
    np.testing.assert_array_equal(Used(layer("flatten"), x[:, 0, 0, 0]).y, x[:, 0, 0, :1])
    np.testing.assert_array_equal(Used(layer("reshape", shape=[6, -1]), x).y, x.reshape(2, 6, 10))
    np.testing.assert_array_equal(Used(layer("reshape", shape=60), x).y, x.reshape(2, 60))
    np.testing.assert_array_equal(Used(layer("permute", axes=[3, 1, 2]), x).y, x.transpose(0, 3, 1, 2))


def test_shapes_that_do_not_fit() -> None:
    x = np.zeros((2, 3, 4))
    with pytest.raises(
        ShapeError, match=r"the input is \(3, 4\): reshape cannot make \(5, -1\) of 12 elements"
    ):
        Used(layer("reshape", shape=[5, -1]), x)
    with pytest.raises(ShapeError, match="of 12 elements"):
        Used(layer("reshape", shape=[5, 2]), x)
    with pytest.raises(ShapeError, match=r"permute to \[3, 1, 2\] needs 3 axes"):
        Used(layer("permute", axes=[3, 1, 2]), x)


@pytest.mark.parametrize(
    "name", ["flatten", "add", "dense", "conv2d", "batch_norm", "max_pool2d", "embedding"]
)
def test_an_empty_batch(name: str) -> None:
    fields = {
        "dense": {"units": 2, "kernel_initializer": "ones"},
        "conv2d": {"filters": 2, "kernel": 2, "kernel_initializer": "ones"},
        "max_pool2d": {"size": 2},
        "embedding": {"tokens": 3, "units": 2},
    }.get(name, {})
    x = np.zeros((0, 4, 4, 2), int if name == "embedding" else float)
    inputs = (x, x) if name == "add" else (x,)
    assert len(Used(layer(name, **fields), *inputs, training=False).y) == 0


@pytest.mark.peers
def test_batch_norm_over_three_steps_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    peer = torch.nn.BatchNorm2d(3, momentum=0.1, dtype=torch.float64)
    moving = {"moving_mean": np.zeros(3), "moving_variance": np.ones(3)}
    for step in range(3):
        x = np.random.default_rng(step).normal(step, 2, size=(4, 5, 5, 3))
        theirs = peer(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        used = Used(layer("batch_norm"), x, values=moving)
        np.testing.assert_allclose(used.y, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
        moving = {name: value.numpy() for name, value in used.updates.items()}
    np.testing.assert_allclose(moving["moving_mean"], peer.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(moving["moving_variance"], peer.running_var.numpy(), rtol=1e-12)


@pytest.mark.peers
def test_batch_norm_of_each_element_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    peer = torch.nn.BatchNorm1d(6, momentum=0.1, dtype=torch.float64)
    x = images(4, 2, 3) + 3
    used = Used(layer("batch_norm", mode="elementwise"), x)
    (used.output**3).sum().backward()
    first = torch.tensor(x, requires_grad=True)
    theirs = peer(first.flatten(1))
    (theirs**3).sum().backward()
    np.testing.assert_allclose(used.y.reshape(4, 6), theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(used.inputs[0].grad.numpy(), first.grad.numpy(), rtol=1e-8, atol=1e-12)
    slopes = used.parameters["scale"].grad.numpy().reshape(6)
    np.testing.assert_allclose(slopes, peer.weight.grad.numpy(), rtol=1e-9)
    for name, kept in (("moving_mean", peer.running_mean), ("moving_variance", peer.running_var)):
        np.testing.assert_allclose(used.updates[name].numpy().reshape(6), kept.numpy(), rtol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)]
)
def test_conv2d_and_its_gradients_are_pytorchs(stride: int, padding: int, dilation: int, groups: int) -> None:
    torch = pytest.importorskip("torch")
    x, w = images(2, 7, 6, 4), rng.normal(size=(3, 3, 4 // groups, 4))
    fields = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    used = Used(layer("conv2d", filters=4, kernel=3, use_bias=False, **fields), x, values={"kernel": w})
    tx = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    tw = torch.tensor(w.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    theirs = torch.nn.functional.conv2d(tx, tw, **fields)
    np.testing.assert_allclose(used.y, theirs.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-10, atol=1e-12)
    (theirs**2).sum().backward()
    (used.output * used.output).sum().backward()
    for ours, peer in (
        (used.inputs[0].grad, tx.grad.numpy().transpose(0, 2, 3, 1)),
        (used.parameters["kernel"].grad, tw.grad.numpy().transpose(2, 3, 1, 0)),
    ):
        np.testing.assert_allclose(ours.numpy(), peer, rtol=1e-9, atol=1e-10)
