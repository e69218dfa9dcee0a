"""What works on each element or along an axis: activations, norms, merges."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.exchange.keras.cases.table import (
    ACTIVATION,
    BIAS,
    BOTH,
    FLAT,
    FORMAT,
    LINE,
    LIST,
    PICTURE,
    RATE,
    UNITS,
    VOLUME,
    Settings,
    among,
    case,
    inner,
)

case("Dense", FLAT, LINE, PICTURE, units=UNITS, **BIAS)
SHAPES = {"output_shape": among((None, 5), (3, 5)), "bias_axes": among(None, "d")}
case("EinsumDense", (3, 4), equation="abc,cd->abd", activation=ACTIVATION, **SHAPES)

NAMES = (
    "relu relu6 elu selu celu gelu silu mish sigmoid tanh softplus softsign softmax log_softmax log_sigmoid "
    "hard_tanh tanh_shrink soft_shrink hard_shrink squareplus sparse_plus exponential linear leaky_relu "
    "hard_sigmoid hard_silu sparse_sigmoid"
)
LIMITS = {"max_value": among(None, 6.0, 1.0), "threshold": among(0.0, 0.5)}
case("Activation", FLAT, LINE, activation=among(*NAMES.split()))
case("ReLU", LINE, negative_slope=among(0.0, 0.1), **LIMITS)
case("LeakyReLU", LINE, negative_slope=among(0.3, 0.1))
case("ELU", LINE, alpha=among(1.0, 0.5))
case("PReLU", FLAT, LINE, PICTURE, shared_axes=among(None, [1]))
case("Softmax", FLAT, LINE, axis=among(-1, 1))
case("Identity", LINE)

case("Dropout AlphaDropout GaussianDropout", LINE, rate=RATE)
case("GaussianNoise", LINE, stddev=RATE)
case("SpatialDropout1D", LINE, rate=RATE)
case("SpatialDropout2D", PICTURE, rate=RATE, **FORMAT)
case("SpatialDropout3D", VOLUME, rate=RATE, **FORMAT)
case("ActivityRegularization", LINE, l1=RATE, l2=RATE)
case("Rescaling", LINE, scale=among(0.5, 1 / 255, [1.0, 2.0, 3.0, 4.0]), offset=among(0.0, -1.0))


def _apart(found: Settings) -> bool:
    """Keras takes both, of one shape, or none."""
    mean, variance = found["mean"], found["variance"]
    return type(mean) is not type(variance)


TOLD = {"mean": among(None, 0.5, [1.0, 2.0, 3.0, 4.0]), "variance": among(None, 2.0, [0.5, 1.0, 2.0, 4.0])}
case("Normalization", LINE, PICTURE, how={"unless": _apart}, axis=-1, invert=BOTH, **TOLD)

CENTRED = {"epsilon": among(1e-3, 0.1), "center": BOTH, "scale": BOTH}
case("BatchNormalization", FLAT, LINE, PICTURE, axis=among(-1, 1), **CENTRED)
case("LayerNormalization", LINE, PICTURE, axis=among(-1, 1, [1, 2]), **CENTRED)
case("GroupNormalization", (8, 4), PICTURE, axis=among(-1, 1), groups=among(1, 2, 4, -1), **CENTRED)
case("RMSNormalization", LINE, axis=among(-1, [1, 2]), epsilon=among(1e-6, 0.1))
case("UnitNormalization", FLAT, LINE, axis=among(-1, 1))
NORMED = st.one_of(inner("Conv2D", filters=3, kernel_size=2), inner("Dense", units=3))
case("SpectralNormalization", PICTURE, layer=NORMED, power_iterations=among(1, 2))

MERGED = ((LINE, LINE), (LINE, LINE, LINE), (LINE, (1, 4)), (LINE, FLAT))
case("Add Multiply Average Maximum Minimum", *MERGED, how=LIST)
case("Subtract", (LINE, LINE), how=LIST)
case("Concatenate", (LINE, LINE), (PICTURE, PICTURE, PICTURE), how=LIST, axis=among(-1, 1))
case("Dot", ((3, 4), (5, 4)), how=LIST, axes=among(2, -1, (2, 2)), normalize=BOTH)

CONVNEXT = {"module": "keras.src.applications.convnext"}
SCALED = {"module": "keras.src.applications.inception_resnet_v2", **LIST}
case("LayerScale", PICTURE, how=CONVNEXT, init_values=1e-6, projection_dim=4)
case("StochasticDepth", PICTURE, how=CONVNEXT, drop_path_rate=among(0.0, 0.5))
case("CustomScaleLayer", (PICTURE, PICTURE), how=SCALED, scale=among(0.1, 1.0))
