"""Constants beside values: a few stand in the description, many are weights; and sizes that nobody means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.model import Call, Layer
from tests.exchange.keras.support import check_layers
from tests.exchange.keras.test_operations import A, computed, converted, function, layer, node

RNG = np.random.default_rng(7)
MANY = RNG.normal(size=(9, 8)).astype(np.float32)
FREQUENCIES = (2.0 ** np.arange(4)).astype(np.float32)


@pytest.mark.peers
def test_arrays_of_keras_3() -> None:
    """Of 72 numbers, beside an axis of size 1, and in an order in which channels are first."""
    import keras

    def call(x: Any) -> Any:
        pooled = keras.layers.MaxPooling1D(1, data_format="channels_first")(x)
        return [
            *(x + MANY, x - MANY, x * MANY, x * MANY[:, :1], x[:, :, None] * FREQUENCIES[:, None]),
            *(x[:, :, :, None] * FREQUENCIES, keras.layers.Rescaling(MANY, MANY[:1])(x), pooled + MANY),
        ]

    check_layers(None, (9, 8), call=call)


@pytest.mark.parametrize("n", [4, 9])
def test_a_mask_of_infinity(n: int) -> None:
    """Of positions none of which sees those behind it; 4 are few numbers."""
    x = RNG.normal(size=(2, n, n)).astype(np.float32)
    mask = np.where(np.tri(n) > 0, 0, -np.inf)
    np.testing.assert_array_equal(computed(function("math.add", A, mask.tolist()), x=x, y=x), x + mask)


def test_many_numbers_are_weights_that_are_not_trained() -> None:
    table = RNG.normal(size=(3, 40)).astype(np.float32)
    x = RNG.normal(size=(2, 3, 40)).astype(np.float32)
    made = function("math.add", A, table.tolist())
    (told,) = converted(made, shape=(3, 40)).builder.layers[0].values()
    assert told["shape"] == [3, 40]
    assert told["trainable"] is False
    assert "offset" not in told
    np.testing.assert_array_equal(computed(made, x=x, y=x), x + table)


def test_few_numbers_stand_in_the_description() -> None:
    (told,) = converted(function("math.add", A, [1.0, 2.0, 3.0, 4.0])).builder.layers[0].values()
    assert told["offset"] == [1, 2, 3, 4]


def test_the_statistics_of_many_features() -> None:
    mean, variance = RNG.normal(size=100), RNG.uniform(1, 2, 100)
    x = RNG.normal(size=(2, 100)).astype(np.float32)
    made = layer("Normalization", axis=[-1], mean=mean.tolist(), variance=variance.tolist())
    np.testing.assert_allclose(computed(made, x=x, y=x), (x - mean) / np.sqrt(variance), rtol=1e-5, atol=1e-6)
    with pytest.raises(SpecError, match="100 numbers along axis "):
        converted(made)


def test_numbers_of_rows_and_of_columns_are_not_multiplied_out() -> None:
    """Else a file of a million numbers would ask for a quarter of a tera."""
    made = layer("Rescaling", scale=[[1.0]] * 2000, offset=[0.5] * 3000)
    weights = converted(made, shape=(2000, 3000)).builder.weights
    assert sorted(w.size for w in weights.values()) == [2000, 3000]


@pytest.mark.parametrize(
    "made",
    [
        function("tile", A, multiples=[1, 1, 2**36]),
        function("repeat", A, repeats=2**40, axis=1),
        function("broadcast_to", A, shape=[-1, 3, 4, 2**40]),
        function("pad", A, [[0, 0], [2**40, 0], [0, 0]]),
        layer("RepeatVector", n=2**40),
        layer("UpSampling1D", size=2**40),
        layer("ZeroPadding1D", padding=2**40),
        function("einsum", "bij,bkl->bijkl", A, A),
    ],
)
def test_sizes_that_nobody_means(made: Layer) -> None:
    shape = (2**20, 2) if "einsum" in str(made.config) else (3, 4)
    if made.kind == "RepeatVector":
        shape = (3,)
    if "broadcast_to" in str(made.config):
        shape = (3, 4, 1)
    with pytest.raises(SpecError, match=r"it gives \[.*\] for each example: more than 2147483648 numbers"):
        converted(made, shape=shape)


def test_what_is_as_large_as_it_may_be() -> None:
    assert converted(function("tile", A, multiples=[1, 1, 2**31 // 4]), shape=(1, 4))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            function("repeat", A, repeats=2.7, axis=1),
            "repeat: how often is 2.7; expected a whole number of at",
        ),
        (function("repeat", A, repeats="3", axis=1), "how often is '3'; expected a whole number"),
        (function("repeat", A, repeats=[1, 2, 3], axis=1), r"how often is \[1, 2, 3\]; expected a whole"),
        (function("nn.depth_to_space", A, block_size=2.5), "block_size is 2.5; expected a whole number"),
        (
            function("transpose", A, perm=[0, 5, -2]),
            r"axes are \[0, 5, -2\]; expected whole numbers from -3 to 2",
        ),
        (function("transpose", A, perm=[0, 2.0, 1]), r"axes are \[0, 2.0, 1\]; expected whole numbers"),
        (
            Layer("it", "ops.Moveaxis", {"source": 7, "destination": 1}, (Call((A,), {}),)),
            "axes are 7; expected",
        ),
        (
            Layer("it", "ops.Moveaxis", {"source": [1, 1], "destination": [1, 2]}, (Call((A,), {}),)),
            r"axes \[1, 1\] to \[1, 2\]: expected as many, each of them once",
        ),
        (function("pad", A, [[0, 0], [0.5, 0], [0, 0]]), "a pair for each axis is supported"),
        (function("roll", A, shift=[1, 2], axis=1), "expected as many axes"),
        (function("split", A, [1.5, 2.5], axis=-1), "of an axis of 4 is not supported: parts of it are"),
        (node("ArraySplit", A), "the function 'ArraySplit' is not known"),
        (function("einsum", "ab" * 100_000, A), "einsum of one value by 'abab"),
        (function("einsum", "ab" * 100_000 + ",b->a", A, A), "expected one letter, of the batch"),
    ],
)
def test_what_is_refused_is_told_in_short(made: Layer, told: str) -> None:
    with pytest.raises(SpecError, match=told) as error:
        converted(made)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", ["split", "unstack"])
def test_so_many_results_nobody_means(name: str) -> None:
    told = {"num_or_size_splits": 4096} if name == "split" else {}
    with pytest.raises(SpecError, match=f"{name} into 4096 values is not supported: 256 are"):
        converted(function(name, A, axis=1, **told), shape=(4096, 1))


def test_places_of_a_long_axis_are_one_layer() -> None:
    places = RNG.permutation(2048)
    made = converted(function("gather", A, indices=places.tolist(), axis=-1), shape=(1, 2048))
    assert [kind for entry in made.builder.layers for kind in entry] == ["take", "add"]
    x = RNG.normal(size=(2, 1, 2048)).astype(np.float32)
    found = computed(function("gather", A, indices=places.tolist(), axis=-1), x=x, y=x)
    np.testing.assert_array_equal(found, x[:, :, places])


@pytest.mark.peers
def test_bounds_that_are_infinite() -> None:
    from keras import ops

    def call(x: Any) -> Any:
        return [
            *(ops.maximum(x, -np.inf), ops.minimum(x, np.inf), ops.clip(x, -np.inf, 0.5)),
            *(ops.clip(x, -0.5, np.inf), ops.clip(x, -np.inf, np.inf)),
        ]

    check_layers(None, (9, 8), call=call)
