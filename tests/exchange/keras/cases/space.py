"""Convolutions, pooling, margins, sizes and shapes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.exchange.keras.cases.table import (
    BIAS,
    BOTH,
    FLAT,
    FORMAT,
    LINE,
    PICTURE,
    UNITS,
    VOLUME,
    Settings,
    among,
    case,
    pairs,
)


def _at_odds(found: Settings) -> bool:
    """Keras takes strides or a dilation; with channels first are few elements, and softmax is refused."""
    stridden, dilated = (found[key] not in (1, (1, 1)) for key in ("strides", "dilation_rate"))
    first = found["data_format"] == "channels_first"
    added = found.get("output_padding") or 0
    return (
        (dilated and (stridden or first))
        or (
            first
            and (
                found["activation"] == "softmax"
                or found.get("groups", 1) > 1
                or found.get("padding") == "causal"
            )
        )
        or (added > 0 and added >= np.min(found["strides"]))
    )


ONE_OF = {"unless": _at_odds}
PADDING = among("valid", "same")
WAYS = among("valid", "same", "causal")
MOVES = {"strides": among(1, 2, 3), "dilation_rate": among(1, 2)}
MOVES_2D = {"strides": pairs(1, 2), "dilation_rate": pairs(1, 2)}
CONV = {"filters": among(2, 6), "groups": among(1, 2), **BIAS, **FORMAT}
case("Conv1D", LINE, how=ONE_OF, kernel_size=among(1, 2, 3), padding=WAYS, **MOVES, **CONV)
case("Conv2D", PICTURE, how=ONE_OF, kernel_size=pairs(1, 2, 3), padding=PADDING, **MOVES_2D, **CONV)
case("Conv3D", VOLUME, how=ONE_OF, kernel_size=among(1, 2), padding=PADDING, **MOVES, **CONV)
SIZES = {"kernel_size": among(2, 3), "dilation_rate": among(1, 2), "output_padding": among(None, 0, 1)}
TRANSPOSED = {"filters": among(2, 5), "padding": PADDING, **SIZES, **BIAS, **FORMAT}
case("Conv1DTranspose", LINE, how=ONE_OF, strides=among(1, 2, 3), **TRANSPOSED)
case("Conv2DTranspose", PICTURE, how=ONE_OF, strides=pairs(1, 2, 3), **TRANSPOSED)
case("Conv3DTranspose", VOLUME, how=ONE_OF, strides=among(1, 2), **TRANSPOSED)
DEPTHWISE = {
    "kernel_size": among(2, 3),
    "depth_multiplier": among(1, 2),
    "padding": PADDING,
    **BIAS,
    **FORMAT,
}
case("DepthwiseConv1D", LINE, how=ONE_OF, **MOVES, **DEPTHWISE)
case("DepthwiseConv2D", PICTURE, how=ONE_OF, **MOVES, **DEPTHWISE)
case("SeparableConv1D", LINE, how=ONE_OF, filters=UNITS, **MOVES, **DEPTHWISE)
case("SeparableConv2D", PICTURE, how=ONE_OF, filters=UNITS, **MOVES, **DEPTHWISE)

for rank, shape in enumerate((LINE, PICTURE, VOLUME), 1):
    POOL = {"pool_size": among(2, 3), "strides": among(None, 1, 2), "padding": PADDING}
    case(f"MaxPooling{rank}D AveragePooling{rank}D", shape, **POOL, **FORMAT)
    case(f"GlobalMaxPooling{rank}D GlobalAveragePooling{rank}D", shape, keepdims=BOTH, **FORMAT)
    case(
        f"AdaptiveMaxPooling{rank}D AdaptiveAveragePooling{rank}D",
        shape,
        output_size=among(1, 2, 3),
        **FORMAT,
    )

EDGES = st.tuples(st.tuples(among(0, 1), among(2, 3)), st.tuples(among(1, 0), among(0, 2)))
EDGES_3D = among(1, (0, 1, 1), ((1, 0), (0, 2), (1, 1)))
case("ZeroPadding1D", LINE, padding=pairs(0, 1, 2), **FORMAT)
case("ZeroPadding2D", PICTURE, padding=st.one_of(pairs(0, 1, 2), EDGES), **FORMAT)
case("ZeroPadding3D", VOLUME, padding=EDGES_3D, **FORMAT)
case("Cropping1D", LINE, cropping=pairs(0, 1, 2))
case("Cropping2D", PICTURE, cropping=st.one_of(pairs(0, 1, 2), EDGES), **FORMAT)
case("Cropping3D", VOLUME, cropping=EDGES_3D, **FORMAT)
case("UpSampling1D", LINE, size=among(2, 3))
case("UpSampling2D", PICTURE, size=pairs(2, 3), interpolation=among("nearest", "bilinear"), **FORMAT)
case("UpSampling3D", VOLUME, size=among(2, (1, 2, 3)), **FORMAT)
case("Flatten", FLAT, LINE, PICTURE, **FORMAT)
case("Reshape", (12,), (3, 4), (2, 3, 2), target_shape=among((12,), (4, 3), (-1, 6), (2, 2, 3)))
case("Permute", (2, 3, 4), dims=st.permutations([1, 2, 3]).map(tuple))
case("RepeatVector", FLAT, n=among(1, 3))
