"""Convolutions, pooling, margins and shapes, with settings drawn at random, give what Keras gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchange.keras.support import check_layers

pytestmark = pytest.mark.peers

few = settings(max_examples=4, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
small = st.integers(1, 3)
padding = st.sampled_from(["valid", "same"])
formats = st.sampled_from(["channels_last", "channels_first"])
Draw = Callable[[Any], Any]


def each(draw: Draw, rank: int, most: int) -> list[int]:
    return [draw(st.integers(1, most)) for _ in range(rank)]


def sizes(draw: Draw, rank: int, least: int) -> list[int]:
    return [draw(st.integers(least, least + 3)) for _ in range(rank)]


def shape(draw: Draw, rank: int, least: int, channels: int, order: str) -> tuple[int, ...]:
    """Of an input that has so many channels, first or last."""
    spatial = sizes(draw, rank, least)
    return (channels, *spatial) if order == "channels_first" else (*spatial, channels)


def steps(draw: Draw, rank: int) -> dict[str, Any]:
    """Strides or dilation: Keras takes one of them."""
    if draw(st.booleans()):
        return {"strides": each(draw, rank, 3)}
    return {"dilation_rate": each(draw, rank, 2)}


def layer(name: str, **fields: Any) -> Any:
    import keras

    return getattr(keras.layers, name)(**fields)


# Convolutions


@pytest.mark.parametrize("rank", [1, 2, 3])
@few
@given(st.data())
def test_conv(rank: int, data: Any) -> None:
    draw, groups = data.draw, data.draw(st.sampled_from([1, 2]))
    ways = ["valid", "same", "causal"] if rank == 1 else ["valid", "same"]
    fields = {
        "filters": 2 * draw(small), "kernel_size": each(draw, rank, 3), "groups": groups,
        "padding": draw(st.sampled_from(ways)), "use_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from([None, "relu", "tanh"])), **steps(draw, rank),
    }  # fmt: skip
    order = "channels_last" if fields["padding"] == "causal" else draw(formats)
    x = shape(draw, rank, 5, 4, order)
    check_layers([layer(f"Conv{rank}D", data_format=order, **fields)], x)


@pytest.mark.parametrize("rank", [1, 2, 3])
@few
@given(st.data())
def test_conv_transpose(rank: int, data: Any) -> None:
    draw, order = data.draw, data.draw(formats)
    strides = each(draw, rank, 4)
    extra = [draw(st.integers(0, s - 1)) for s in strides] if draw(st.booleans()) else None
    fields = {"strides": strides, "output_padding": extra, "padding": draw(padding), "filters": draw(small)}
    made = layer(f"Conv{rank}DTranspose", kernel_size=each(draw, rank, 5), data_format=order, **fields)
    check_layers([made], shape(draw, rank, 2, 3, order))


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("way", ["valid", "same"])
def test_the_size_of_what_a_transposed_convolution_gives(kernel: int, way: str) -> None:
    """All strides and output paddings beside each other: each is a layer of one model."""
    import keras

    def call(x: Any) -> Any:
        known = [(s, extra) for s in (1, 2, 3) for extra in (None, *range(s))]
        fields = {"kernel_size": kernel, "padding": way, "filters": 1}
        made = [layer("Conv1DTranspose", strides=s, output_padding=extra, **fields)(x) for s, extra in known]
        return keras.layers.Concatenate(axis=1)(made)

    check_layers(None, (4, 2), call=call, formats=["keras"])


@pytest.mark.parametrize("kind", ["DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"])
@few
@given(st.data())
def test_of_each_channel(kind: str, data: Any) -> None:
    draw, rank, order = data.draw, int(kind[-2]), data.draw(formats)
    fields = {"kernel_size": each(draw, rank, 3), "padding": draw(padding), "depth_multiplier": draw(small)}
    way = "strides" if draw(st.booleans()) else "dilation_rate"
    fields |= {way: draw(st.integers(1, 2)), "use_bias": draw(st.booleans())}
    fields |= {"filters": draw(small)} if kind.startswith("Sep") else {}
    check_layers([layer(kind, data_format=order, **fields)], shape(draw, rank, 5, 3, order))


# Pooling


@pytest.mark.parametrize("kind", ["MaxPooling", "AveragePooling"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@few
@given(st.data())
def test_pooling(kind: str, rank: int, data: Any) -> None:
    draw, order = data.draw, data.draw(formats)
    strides = each(draw, rank, 3) if draw(st.booleans()) else None
    made = layer(
        f"{kind}{rank}D",
        pool_size=each(draw, rank, 3),
        strides=strides,
        padding=draw(padding),
        data_format=order,
    )
    check_layers([made], shape(draw, rank, 3, 2, order))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
def test_pooling_over_everything(rank: int, order: str) -> None:
    def call(x: Any) -> Any:
        kinds = [f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average")]
        return [layer(k, keepdims=keeps, data_format=order)(x) for k in kinds for keeps in (False, True)]

    check_layers(None, (3, 4, 2, 5)[: rank + 1], call=call)


@pytest.mark.parametrize("keeps", [False, True])
def test_the_mean_of_the_steps_that_count(keeps: bool) -> None:
    def call(x: Any) -> Any:
        embedded = layer("Embedding", input_dim=4, output_dim=3, mask_zero=True)(x)
        return layer("GlobalAveragePooling1D", keepdims=keeps)(embedded)

    check_layers(None, (6,), tokens=4, call=call)


@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@few
@given(st.data())
def test_pooling_to_a_size(kind: str, rank: int, data: Any) -> None:
    draw, order = data.draw, data.draw(formats)
    made = layer(f"Adaptive{kind}Pooling{rank}D", output_size=each(draw, rank, 4), data_format=order)
    check_layers([made], shape(draw, rank, 3, 2, order))


# Margins, sizes and shapes


@pytest.mark.parametrize("kind", ["ZeroPadding", "Cropping"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@few
@given(st.data())
def test_margins(kind: str, rank: int, data: Any) -> None:
    draw, most = data.draw, st.integers(0, 2)
    pairs = [(draw(most), draw(most)) for _ in range(rank)]
    given = draw(
        st.sampled_from([1, pairs[0], tuple(pairs)][: 2 if rank == 1 else 3 : 1 if rank == 1 else 2])
    )
    order = "channels_last" if rank == 1 else draw(formats)
    fields = {"padding" if kind == "ZeroPadding" else "cropping": given}
    fields |= {} if rank == 1 else {"data_format": order}
    check_layers([layer(f"{kind}{rank}D", **fields)], shape(draw, rank, 5, 2, order))


@few
@given(st.data())
def test_up_sampling(data: Any) -> None:
    draw = data.draw
    order, mode = draw(formats), draw(st.sampled_from(["nearest", "bilinear"]))
    two = layer("UpSampling2D", size=each(draw, 2, 3), interpolation=mode, data_format=order)
    check_layers([two], shape(draw, 2, 2, 2, order))
    three = layer("UpSampling3D", size=each(draw, 3, 2), data_format=order)
    check_layers([three], shape(draw, 3, 2, 2, order))
    check_layers([layer("UpSampling1D", size=draw(small))], (4, 2))


@pytest.mark.parametrize("first", ["channels_last", "channels_first"])
@pytest.mark.parametrize("then", ["channels_last", "channels_first"])
def test_flatten_has_the_order_of_keras(first: str, then: str) -> None:
    """Also behind layers whose channels come first, which have them last here."""
    layers = [
        layer("Conv2D", filters=3, kernel_size=2, data_format=first),
        layer("MaxPooling2D", pool_size=2, data_format=first),
        layer("Flatten", data_format=then),
    ]
    check_layers(layers, (4, 5, 6))


def test_shapes() -> None:
    layers = [
        layer("Conv2D", filters=4, kernel_size=2, data_format="channels_first"),
        layer("Permute", dims=(3, 1, 2)),
        layer("Reshape", target_shape=(-1, 2)),
        layer("Flatten"),
        layer("RepeatVector", n=3),
        layer("Reshape", target_shape=(2, 3, -1, 1)),
    ]
    check_layers(layers, (2, 4, 5))


def test_lines_of_any_length() -> None:
    layers = [
        layer("Conv1D", filters=3, kernel_size=3, padding="same"),
        layer("MaxPooling1D", pool_size=2, padding="same"),
        layer("UpSampling1D", size=2),
        layer("ZeroPadding1D", padding=1),
        layer("GlobalMaxPooling1D"),
    ]
    check_layers(layers, (None, 2))


def test_a_layer_that_is_called_twice_has_one_kernel() -> None:
    def call(x: Any) -> Any:
        conv = layer("Conv2D", filters=2, kernel_size=3, padding="same")
        return conv(conv(x))

    check_layers(None, (5, 4, 2), call=call)


def test_interpolations_that_are_not_supported_are_told() -> None:
    from cortex_compute.errors import SpecError

    with pytest.raises(SpecError, match=r"UpSampling2D\): interpolation is 'bicubic'; supported: 'nearest'"):
        check_layers([layer("UpSampling2D", interpolation="bicubic")], (3, 3, 2))
