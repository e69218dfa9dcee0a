"""What a Keras file says, in one form, whatever version wrote it.

Readers make this, translators read it.  Fields of a configuration have the names of Keras 3, weights the
shapes and the order of `layer.get_weights()` there, and channels and kernels lie as the configuration's
``data_format`` says of the values: kernels always (..., in, out), for correlation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cortex_compute.frozen import frozen

Config = Mapping[str, Any]


@frozen
class Weight:
    """An array of the file.  It is read when it is needed; shape and type are known before.

    ``turn`` makes it of what lies in the file, where that has another order: the moments of an optimizer lie
    as it does there.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]
    turn: Callable[[np.ndarray], np.ndarray] = np.asarray


@frozen
class Out:
    """One of the values that a layer gives: of which call, and which of its results."""

    layer: str
    call: int = 0
    index: int = 0


@frozen
class Call:
    """One use of a layer: what it was called with.  ``args`` and ``keywords`` hold `Out`, numbers, text,
    None, and lists of these."""

    args: tuple[Any, ...]
    keywords: Mapping[str, Any]


@frozen
class Layer:
    """A layer of a model.  ``model`` is what a nested model holds; a wrapper's layer stands in its
    configuration, under ``layer``, as ``{"class_name": ..., "config": ...}``.

    ``refused`` says why it is not imported, unless the user maps it to a block: it holds code, or is of a
    class that is not Keras's.  ``written`` is its class in the file, which may have another name here.
    ``shared`` is the number of an object that the file has several times; the
    first time it may not say so.
    """

    name: str
    kind: str
    config: Config
    calls: tuple[Call, ...]
    weights: tuple[Weight, ...] = ()
    model: Model | None = None
    refused: str = ""
    written: str = ""
    shared: int | None = None


@frozen
class Model:
    """The layers of a model as the file lists them, its inputs (of kind InputLayer, with their
    ``batch_shape``) among them; `order.steps` gives the order in which they are called."""

    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[Out, ...]
    outputs: tuple[Out, ...]


@frozen
class Optimizer:
    """How the model was trained last, and the optimizer's variables in their order."""

    kind: str
    config: Config
    weights: tuple[Weight, ...] = ()


@frozen
class File:
    """All that a file says.  ``training`` is what `compile` was given; None where it is not known.

    ``version`` is that of Keras, such as "2.1.6", empty where the file does not say; ``backend`` what
    it ran on.  ``replaced``: it holds weights of its own, which were left for those of another file; the
    state of the optimizer is its own then.  ``assumed``: the file does not say the version, and what it
    holds tells that it is at least this one.  ``guessed``: nor does it say the backend, on which its kernels
    depend.
    """

    version: str
    backend: str
    model: Model
    training: Config | None = None
    optimizer: Optimizer | None = None
    replaced: bool = False
    assumed: bool = False
    guessed: bool = False


def release(version: str) -> tuple[int, ...]:
    """2, 1, 6 of "2.1.6-tf"; (1,) where nothing is said: Keras did not say it before 2."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else (1,)


def each_axis(told: Any, rank: int) -> list[Any]:
    """What a configuration says for each spatial axis, or once for all of them."""
    return [*told] if isinstance(told, (list, tuple)) else [told] * rank
