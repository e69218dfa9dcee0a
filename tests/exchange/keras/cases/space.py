"""Convolutions, pooling, margins, sizes and shapes."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.exchange.keras.cases.table import (
    BIAS,
    BOTH,
    FLAT,
    LINE,
    PICTURE,
    UNITS,
    VOLUME,
    Settings,
    among,
    case,
    pairs,
)


def _strides_and_dilation(found: Settings) -> bool:
    """Keras takes one of them."""
    return all(found[key] not in (1, (1, 1)) for key in ("strides", "dilation_rate"))


ONE_OF = {"unless": _strides_and_dilation}
PADDING = among("valid", "same")
WAYS = among("valid", "same", "causal")
MOVES = {"strides": among(1, 2, 3), "dilation_rate": among(1, 2)}
MOVES_2D = {"strides": pairs(1, 2), "dilation_rate": pairs(1, 2)}
CONV = {"filters": among(2, 6), "groups": among(1, 2), **BIAS}
case("Conv1D", LINE, how=ONE_OF, kernel_size=among(1, 2, 3), padding=WAYS, **MOVES, **CONV)
case("Conv2D", PICTURE, how=ONE_OF, kernel_size=pairs(1, 2, 3), padding=PADDING, **MOVES_2D, **CONV)
case("Conv3D", VOLUME, how=ONE_OF, kernel_size=among(1, 2), padding=PADDING, **MOVES, **CONV)
TRANSPOSED = {"filters": among(2, 5), "kernel_size": among(2, 3), "padding": PADDING, **BIAS}
case("Conv1DTranspose", LINE, strides=among(1, 2, 3), **TRANSPOSED)
case("Conv2DTranspose", PICTURE, strides=pairs(1, 2, 3), **TRANSPOSED)
case("Conv3DTranspose", VOLUME, strides=among(1, 2), **TRANSPOSED)
DEPTHWISE = {"kernel_size": among(2, 3), "depth_multiplier": among(1, 2), "padding": PADDING, **BIAS}
case("DepthwiseConv1D", LINE, how=ONE_OF, **MOVES, **DEPTHWISE)
case("DepthwiseConv2D", PICTURE, how=ONE_OF, **MOVES, **DEPTHWISE)
case("SeparableConv1D", LINE, how=ONE_OF, filters=UNITS, **MOVES, **DEPTHWISE)
case("SeparableConv2D", PICTURE, how=ONE_OF, filters=UNITS, **MOVES, **DEPTHWISE)

FORMAT = {"data_format": among("channels_last", "channels_first")}
for rank, shape in enumerate((LINE, PICTURE, VOLUME), 1):
    POOL = {"pool_size": among(2, 3), "strides": among(None, 1, 2), "padding": PADDING}
    case(f"MaxPooling{rank}D AveragePooling{rank}D", shape, **POOL, **FORMAT)
    case(f"GlobalMaxPooling{rank}D GlobalAveragePooling{rank}D", shape, keepdims=BOTH, **FORMAT)
    case(f"AdaptiveMaxPooling{rank}D AdaptiveAveragePooling{rank}D", shape, output_size=among(1, 2, 3))

EDGES = st.tuples(st.tuples(among(0, 1), among(2, 3)), st.tuples(among(1, 0), among(0, 2)))
EDGES_3D = among(1, (0, 1, 1), ((1, 0), (0, 2), (1, 1)))
case("ZeroPadding1D", LINE, padding=pairs(0, 1, 2))
case("ZeroPadding2D", PICTURE, padding=st.one_of(pairs(0, 1, 2), EDGES), **FORMAT)
case("ZeroPadding3D", VOLUME, padding=EDGES_3D)
case("Cropping1D", LINE, cropping=pairs(0, 1, 2))
case("Cropping2D", PICTURE, cropping=st.one_of(pairs(0, 1, 2), EDGES), **FORMAT)
case("Cropping3D", VOLUME, cropping=EDGES_3D)
case("UpSampling1D", LINE, size=among(2, 3))
case("UpSampling2D", PICTURE, size=pairs(2, 3), interpolation=among("nearest", "bilinear"), **FORMAT)
case("UpSampling3D", VOLUME, size=among(2, (1, 2, 3)))
case("Flatten", FLAT, LINE, PICTURE, **FORMAT)
case("Reshape", (12,), (3, 4), (2, 3, 2), target_shape=among((12,), (4, 3), (-1, 6), (2, 2, 3)))
case("Permute", (2, 3, 4), dims=st.permutations([1, 2, 3]).map(tuple))
case("RepeatVector", FLAT, n=among(1, 3))
