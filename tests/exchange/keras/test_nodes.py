"""Nodes of TensorFlow's graphs, as the first tf.keras wrote them: attributes as JSON has them, where whole
numbers are text, and operands that are constants by their places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.model import Call, Layer, Out
from tests.exchange.keras.test_operations import A, B, X, Y, computed, converted, function, node

FLOAT, INT = {"type": "DT_FLOAT"}, {"type": "DT_INT32"}
PIXELS = np.arange(2 * 2 * 3 * 8, dtype=np.float32).reshape(2, 2, 3, 8)
WIDE = PIXELS.reshape(2, 2, 3, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 4, 6, 2)
MARGINS = [[0, 0], [1, 2], [0, 0]]
NHWC, REFLECT = {"s": "TkhXQw=="}, {"s": "UkVGTEVDVA=="}
PRODUCT = X @ Y.transpose(0, 2, 1)


def whole(n: int) -> dict[str, str]:
    return {"i": str(n)}


def wholes(*numbers: int) -> dict[str, Any]:
    return {"list": {"i": [str(n) for n in numbers]}}


@pytest.mark.parametrize(
    ("layer", "right"),
    [
        (
            node("GatherV2", A, constants={"1": [2, 0], "2": 1}, batch_dims=whole(0), Tparams=FLOAT,
                 Tindices=INT, Taxis=INT),
            X[:, [2, 0]],
        ),
        (node("GatherV2", A, constants={"1": -1, "2": 2}, batch_dims=whole(0)), X[:, :, -1]),
        (node("PadV2", A, constants={"1": MARGINS, "2": 0.0}, T=FLOAT, Tpaddings=INT), np.pad(X, MARGINS)),
        (node("Pad", A, constants={"1": MARGINS}, T=FLOAT, Tpaddings=INT), np.pad(X, MARGINS)),
        (
            node("MirrorPad", A, constants={"1": MARGINS}, mode=REFLECT, T=FLOAT, Tpaddings=INT),
            np.pad(X, MARGINS, mode="reflect"),
        ),
        (
            node("Roll", A, constants={"1": [1, 3], "2": [1, 2]}, T=FLOAT, Tshift=INT, Taxis=INT),
            np.roll(X, (1, 3), (1, 2)),
        ),
        (node("Tile", A, constants={"1": [1, 2, 3]}, T=FLOAT, Tmultiples=INT), np.tile(X, (1, 2, 3))),
        (node("Pack", A, B, axis=whole(1), N=whole(2), T=FLOAT), np.stack([X, Y], 1)),
        (node("ExpandDims", A, constants={"1": 2}, T=FLOAT, Tdim=INT), X[:, :, None]),
        (node("Transpose", A, constants={"1": [0, 2, 1]}, T=FLOAT, Tperm=INT), X.transpose(0, 2, 1)),
        (node("ReverseV2", A, constants={"1": [1]}, T=FLOAT, Tidx=INT), X[:, ::-1]),
        (node("Reshape", A, constants={"1": [-1, 4, 3]}, T=FLOAT, Tshape=INT), X.reshape(-1, 4, 3)),
        (node("BatchMatMulV2", A, B, adj_x={"b": False}, adj_y={"b": True}, T=FLOAT), PRODUCT),
        (node("Einsum", A, B, equation={"s": "YmlqLGJrai0+Ymlr"}, N=whole(2), T=FLOAT), PRODUCT),
        (node("Cast", A, SrcT=FLOAT, DstT=FLOAT, Truncate={"b": False}), X),
    ],
)  # fmt: skip
def test_nodes(layer: Layer, right: np.ndarray) -> None:
    np.testing.assert_allclose(computed(layer), right, rtol=1e-5, atol=1e-6)


def test_a_node_that_takes_axes_away() -> None:
    x = X[:, :, None]
    layer = node("Squeeze", A, squeeze_dims=wholes(2), T=FLOAT)
    np.testing.assert_array_equal(computed(layer, x=x, y=x), X)


def test_pixels_of_channels() -> None:
    there = node("DepthToSpace", A, block_size=whole(2), data_format=NHWC, T=FLOAT)
    np.testing.assert_array_equal(computed(there, x=PIXELS, y=PIXELS), WIDE)
    back = node("SpaceToDepth", A, block_size=whole(2), data_format=NHWC, T=FLOAT)
    np.testing.assert_array_equal(computed(back, x=WIDE, y=WIDE), PIXELS)


@pytest.mark.parametrize(
    ("parts", "right"),
    [
        (node("Split", A, constants={"0": 2}, num_split=whole(2), T=FLOAT), np.split(X, 2, 2)),
        (
            node("SplitV", A, constants={"1": [1, -1], "2": 1}, num_split=whole(2), T=FLOAT, Tlen=INT),
            np.split(X, [1], 1),
        ),
        (node("Unpack", A, axis=whole(1), num=whole(3), T=FLOAT), [X[:, i] for i in range(3)]),
    ],
)
def test_nodes_of_several_results(parts: Layer, right: list[np.ndarray]) -> None:
    parts = Layer("parts", parts.kind, parts.config, parts.calls)
    for index, wanted in enumerate(right):
        last = function("math.negative", Out("parts", 0, index))
        np.testing.assert_array_equal(computed(last, parts), -wanted)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (node("GatherV2", A, constants={"1": [0]}), "GatherV2 of 2 operands; expected 3"),
        (
            node("GatherV2", A, constants={"1": [0], "2": 1}, batch_dims=whole(1)),
            "other places for each exam",
        ),
        (node("GatherV2", A, B, constants={"2": 1}), "is no number, and no list of them"),
        (node("PadV2", A, constants={"1": MARGINS, "2": 1.0}), "pad is supported with zeros"),
        (node("MirrorPad", A, constants={"1": MARGINS}, mode={"s": "U1lNTUVUUklD"}), "in the modes constant"),
        (node("Split", A, constants={"0": 1}, num_split=whole(2)), "split by 2 of an axis of 3"),
        (node("Split", A, constants={"0": 0}, num_split=whole(2)), "axis is 0; supported: 1 to 2"),
        (node("Unpack", A, axis=whole(1), num=whole(2)), "into 2: all places of a known size"),
        (node("Squeeze", A, squeeze_dims={"list": {}}), r"axis is \[\]; supported"),
        (node("Pack", A, B, axis={"i": "x"}), "its configuration is not as Keras writes it"),
    ],
)
def test_nodes_that_are_refused(layer: Layer, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        converted(Layer("it", layer.kind, layer.config, (Call(layer.calls[0].args, {}),)))
