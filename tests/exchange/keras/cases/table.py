"""The table of cases, and the words in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from cortex_core.exchange.keras.images import VARIED

FORMER = ("Highway", "MaxoutDense", "Merge", "ParametricSoftplus")
LOCAL = ("LocallyConnected1D", "LocallyConnected2D")
REARRANGING = (
    *("Flip", "Matmul", "Max", "Min", "Moveaxis", "Reshape", "Squeeze", "Stack", "Swapaxes"),
    "Transpose",
)
FUNCTIONS = (
    *("Amax", "Amin", "BroadcastTo", "Cos", "Einsum", "Equal", "Erf", "Expm1", "Greater", "GreaterEqual"),
    *("Less", "LessEqual", "Log", "Log1p", "LogicalNot", "Norm", "Normalize", "Pad", "Repeat", "Roll", "Sin"),
    *("Split", "Std", "Take", "Tile", "Unstack", "Var", "Where"),
)
Settings = Mapping[str, Any]
Shape = tuple[int, ...]
Call = Callable[..., Any]
Strategy = st.SearchStrategy[Any]


class Inner(NamedTuple):
    """A layer that is a setting of another."""

    kind: str
    settings: Settings


class Case(NamedTuple):
    """``settings`` are drawn, and so is one of ``shapes``, those of the inputs of a model.

    ``call`` is how the layer is called with these; ``tokens``: they hold whole numbers below it.  ``module``
    is where the class is.  Settings of which ``unless`` is true are none that Keras takes.  ``masks``: the
    layer is also called with sequences of which not every step counts.
    """

    settings: dict[str, Strategy]
    shapes: tuple[tuple[Shape, ...], ...]
    call: Call = lambda layer, *xs: layer(*xs)
    tokens: int = 0
    module: str = "keras.layers"
    unless: Callable[[Settings], bool] = lambda _: False
    masks: bool = False


CASES: dict[str, Case] = {}
ELSEWHERE = {
    "TFOpLambda": "written by tf.keras alone; test_pointwise.py has such by hand",
    "TensorFlowOpLayer": "written by tf.keras alone; test_pointwise.py has such by hand",
    "ThresholdedReLU": "not in Keras 3; test_pointwise.py has it by hand",
    **dict.fromkeys(VARIED, "in training alone, where Keras calls it; test_images.py has all"),
    **dict.fromkeys(("CenterCrop", "RandomCrop", "Resizing"), "test_images.py has it"),
    **dict.fromkeys(FORMER, "of Keras 1; test_former.py has it"),
    **dict.fromkeys(LOCAL, "of Keras 1 and 2; test_locally_connected.py has it"),
    **dict.fromkeys(("SlicingOpLambda", "ops.GetItem"), "test_slicing.py has it"),
    **{f"ops.{name}": "test_rearranging.py has it" for name in REARRANGING},
    **{f"ops.{name}": "test_functions.py has it" for name in FUNCTIONS},
    "GroupedQueryAttention": "another name of GroupQueryAttention, which files have",
}
"""Classes that cannot be made with Keras 3, and what tests them."""

IDLE = {
    "seed": "of what training draws",
    "dropout": "of training",
    "recurrent_dropout": "of training",
    "momentum": "of training",
    "noise_shape": "of training; test_pointwise.py",
    "renorm": "of training, from Keras 2",
    "renorm_clipping": "of training, from Keras 2",
    "renorm_momentum": "of training, from Keras 2",
    "synchronized": "of training on several machines",
    "lora_rank": "of training",
    "lora_alpha": "of training",
    "quantization_config": "how weights are packed: other arrays, which are refused",
    "gptq_unpacked_column_size": "how weights are packed",
    "weights": "initial ones, which a file does not repeat",
    "score_mode": "Attention alone has one, and REFUSED has it",
    "unroll": "how it is computed",
    "use_cudnn": "how it is computed",
    "flash_attention": "how it is computed",
    "cell": "made by the class itself",
    "stateful": "from batch to batch; test_sequences_by_version.py",
    "backward_layer": "test_sequences.py",
}
"""Fields that no row needs to draw: those on which no prediction depends, and those that others test."""

REFUSED: dict[str, dict[str, Any]] = {
    "ConvLSTM2D": {"dilation_rate": 2, "data_format": "channels_first"},
    "MultiHeadAttention": {"attention_axes": 2, "use_gate": True, "sliding_window": 2},
    "GroupQueryAttention": {"use_gate": True, "sliding_window": 2},
    "Attention": {"score_mode": "concat"},
}
"""What Keras takes and the import refuses, of classes that have rows."""

NEEDED: dict[str, dict[str, Any]] = {
    "ConvLSTM2D": {"filters": 2, "kernel_size": 2},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 2},
    "GroupQueryAttention": {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 2},
    "Attention": {},
}
"""What these are made with beside."""

PLAIN: Settings = {}


def case(names: str, *shapes: tuple[Shape, ...] | Shape, how: Settings = PLAIN, **settings: Any) -> None:
    """Registers a case for each of these names.

    ``shapes`` are of one input, or of several; a setting is a strategy or a plain value; ``how`` are further
    fields of the case.
    """
    given: Any = tuple(x if isinstance(x[0], tuple) else (x,) for x in shapes)
    for name in names.split():
        assert name not in CASES
        CASES[name] = Case(_strategies(settings), given, **how)


def _strategies(settings: Settings) -> dict[str, Strategy]:
    return {k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in settings.items()}


def inner(kind: str, **settings: Any) -> Strategy:
    return st.builds(Inner, st.just(kind), st.fixed_dictionaries(_strategies(settings)))


def among(*values: Any) -> Strategy:
    return st.sampled_from(values)


def pairs(*values: Any) -> Strategy:
    """One number for both axes, or two."""
    return st.one_of(among(*values), st.tuples(among(*values), among(*values)))


def together(layer: Any, *xs: Any) -> Any:
    """Calls a layer with a list."""
    return layer(list(xs))


BOTH = st.booleans()
UNITS = among(3, 5)
RATE = among(0.0, 0.3)
ACTIVATION = among(None, "relu", "tanh", "sigmoid", "gelu", "softmax", "hard_sigmoid", "selu", "swish")
BIAS = {"use_bias": BOTH, "activation": ACTIVATION}
LIST = {"call": together}
FORMAT = {"data_format": among("channels_last", "channels_first")}
FLAT, LINE, PICTURE, VOLUME = (4,), (9, 4), (8, 9, 4), (5, 6, 4, 4)
