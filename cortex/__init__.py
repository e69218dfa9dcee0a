"""Cortex: neural networks as data, compiled for the machine at hand.

    network = cortex.network("examples/digits.yaml")      # or a dict
    run = cortex.train(network)                           # run.history, run.network, run.path
    network.predict(images)

Importing the package loads next to nothing: each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortex_compute.errors import BackendError as BackendError
    from cortex_compute.errors import CheckpointError as CheckpointError
    from cortex_compute.errors import CortexError as CortexError
    from cortex_compute.errors import DataError as DataError
    from cortex_compute.errors import DTypeError as DTypeError
    from cortex_compute.errors import ShapeError as ShapeError
    from cortex_compute.errors import SpecError as SpecError
    from cortex_core.check import check as check
    from cortex_core.compiled import compile as compile
    from cortex_core.layers.scope import Parameter as Parameter
    from cortex_core.layers.scope import Variable as Variable
    from cortex_core.network import Network as Network
    from cortex_core.network import network as network
    from cortex_core.registry import field as field
    from cortex_core.registry import initializer as initializer
    from cortex_core.registry import layer as layer
    from cortex_core.registry import loss as loss
    from cortex_core.registry import metric as metric
    from cortex_core.registry import optimizer as optimizer
    from cortex_core.registry import schedule as schedule
    from cortex_core.tensor import Tensor as Tensor
    from cortex_core.tensor import no_grad as no_grad
    from cortex_core.training.checkpoint import load as load
    from cortex_core.training.evaluate import evaluate as evaluate
    from cortex_core.training.source import register as register_data  # noqa: F401
    from cortex_core.training.train import train as train

__version__ = "0.1.0"

_HOMES = {
    "cortex_compute.errors": (
        *("CortexError", "SpecError", "ShapeError", "DTypeError"),
        *("DataError", "BackendError", "CheckpointError"),
    ),
    "cortex_core.check": ("check",),
    "cortex_core.compiled": ("compile",),
    "cortex_core.layers.scope": ("Parameter", "Variable"),
    "cortex_core.network": ("Network", "network"),
    "cortex_core.registry": ("field", "initializer", "layer", "loss", "metric", "optimizer", "schedule"),
    "cortex_core.tensor": ("Tensor", "no_grad"),
    "cortex_core.training.checkpoint": ("load",),
    "cortex_core.training.evaluate": ("evaluate",),
    "cortex_core.training.train": ("train",),
}
_HOME_OF = {name: (home, name) for home, names in _HOMES.items() for name in names}
_HOME_OF["register_data"] = ("cortex_core.training.source", "register")

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'cortex' has no attribute {name!r}")
    module, attribute = _HOME_OF[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return __all__
