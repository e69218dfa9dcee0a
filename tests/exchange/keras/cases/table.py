"""The table of cases, and the words in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

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
    is where the class is.  Settings of which ``unless`` is true are none that Keras takes.
    """

    settings: dict[str, Strategy]
    shapes: tuple[tuple[Shape, ...], ...]
    call: Call = lambda layer, *xs: layer(*xs)
    tokens: int = 0
    module: str = "keras.layers"
    unless: Callable[[Settings], bool] = lambda _: False


CASES: dict[str, Case] = {}
ELSEWHERE = {
    "TFOpLambda": "written by tf.keras alone; test_pointwise.py has such by hand",
    "TensorFlowOpLayer": "written by tf.keras alone; test_pointwise.py has such by hand",
    "ThresholdedReLU": "not in Keras 3; test_pointwise.py has it by hand",
    "SyncBatchNormalization": "written by tf.keras alone: a BatchNormalization",
    "GroupedQueryAttention": "another name of GroupQueryAttention, which files have",
}
"""Classes that cannot be made with Keras 3, and what tests them."""

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
FLAT, LINE, PICTURE, VOLUME = (4,), (9, 4), (8, 9, 4), (5, 6, 4, 4)
