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
    from cortex_compute.choices import choose as choose
    from cortex_compute.errors import BackendError as BackendError
    from cortex_compute.errors import CheckpointError as CheckpointError
    from cortex_compute.errors import CortexError as CortexError
    from cortex_compute.errors import DataError as DataError
    from cortex_compute.errors import DTypeError as DTypeError
    from cortex_compute.errors import ShapeError as ShapeError
    from cortex_compute.errors import SpecError as SpecError
    from cortex_core.check import check as check
    from cortex_core.compiled import compile as compile
    from cortex_core.exchange.from_onnx.imported import from_onnx as from_onnx
    from cortex_core.exchange.keras.imported import from_keras as from_keras
    from cortex_core.exchange.safetensors_network import from_safetensors as from_safetensors
    from cortex_core.exchange.safetensors_network import to_safetensors as to_safetensors
    from cortex_core.exchange.to_keras.export import to_keras as to_keras
    from cortex_core.exchange.to_onnx.exported import to_onnx as to_onnx
    from cortex_core.generate import Generation as Generation
    from cortex_core.generate import generate as generate
    from cortex_core.layers.scope import Parameter as Parameter
    from cortex_core.layers.scope import Variable as Variable
    from cortex_core.modes import no_grad as no_grad
    from cortex_core.network import Network as Network
    from cortex_core.network import network as network
    from cortex_core.registry import Layer as Layer
    from cortex_core.registry import Source as Source
    from cortex_core.registry import Sources as Sources
    from cortex_core.registry import Stream as Stream
    from cortex_core.registry import augmentation as augmentation
    from cortex_core.registry import constraint as constraint
    from cortex_core.registry import field as field
    from cortex_core.registry import initializer as initializer
    from cortex_core.registry import layer as layer
    from cortex_core.registry import loss as loss
    from cortex_core.registry import metric as metric
    from cortex_core.registry import optimizer as optimizer
    from cortex_core.registry import reader as reader
    from cortex_core.registry import schedule as schedule
    from cortex_core.registry import stream as stream
    from cortex_core.tensor import Tensor as Tensor
    from cortex_core.training.checkpoint import load as load
    from cortex_core.training.evaluate import evaluate as evaluate
    from cortex_core.training.folds import cross_validate as cross_validate
    from cortex_core.training.run import load_run as load_run
    from cortex_core.training.source import find, register
    from cortex_core.training.train import train as train
    from cortex_viz.drawing import draw as draw
    from cortex_viz.drawing import draw_plan as draw_plan

    find_data, register_data = find, register

__version__ = "0.1.0"

_HOMES = {
    "cortex_compute.choices": ("choose",),
    "cortex_compute.errors": (
        *("ArgumentError", "BackendError", "CheckpointError", "CortexError", "DataError", "DTypeError"),
        *("GradientError", "NotFiniteError", "PlaceError", "ShapeError", "SpecError"),
    ),
    "cortex_compute.types": (
        *("bool_", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"),
    ),
    "cortex_core.check": ("check",),
    "cortex_core.compiled": ("compile",),
    "cortex_core.creation": (
        *("arange", "as_tensor", "bernoulli", "empty", "empty_like", "eye", "from_dlpack", "from_numpy"),
        *("full", "full_like", "is_tensor", "linspace", "multinomial", "normal", "ones", "ones_like", "rand"),
        *("rand_like", "randint", "randint_like"),
        *("randn", "randn_like", "randperm", "tensor", "zeros", "zeros_like"),
    ),
    "cortex_core.eager_graph": ("AutogradGraph", "graph_of"),
    "cortex_core.exchange.from_onnx.imported": ("from_onnx",),
    "cortex_core.exchange.keras.imported": ("from_keras",),
    "cortex_core.exchange.safetensors_network": ("from_safetensors", "to_safetensors"),
    "cortex_core.exchange.to_onnx.exported": ("to_onnx",),
    "cortex_core.exchange.to_keras.export": ("to_keras",),
    "cortex_core.explain": ("explain",),
    "cortex_core.recompute": ("checkpoint",),
    "cortex_core.generate": ("Generation", "generate"),
    "cortex_core.generator": ("manual_seed",),
    "cortex_core.gradcheck": ("gradcheck",),
    "cortex_core.layer_list": (
        *("Convolutional", "CrossEntropyLoss", "Dense", "Embedding", "MSELoss", "NeuralNetwork", "Optimizer"),
        *("Pooling", "ReLU", "Recurrent", "Sigmoid", "Softmax", "Tanh"),
    ),
    "cortex_core.layers.scope": ("Parameter", "Variable"),
    "cortex_core.machine": ("using",),
    "cortex_core.modes": (
        *("detect_anomaly", "enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled"),
    ),
    "cortex_core.network": ("Network", "network"),
    "cortex_core.registry": (
        *("Layer", "Source", "Sources", "Stream"),
        *("augmentation", "constraint", "field", "initializer", "layer", "loss", "metric", "optimizer"),
        *("reader", "schedule", "stream"),
    ),
    "cortex_core.tensor": ("Tensor",),
    "cortex_core.traced_step": ("trace_step",),
    "cortex_core.tracing": ("trace",),
    "cortex_core.training.checkpoint": ("load",),
    "cortex_core.training.evaluate": ("evaluate",),
    "cortex_core.training.folds": ("cross_validate",),
    "cortex_core.training.run": ("load_run",),
    "cortex_core.training.train": ("train",),
    "cortex_core.transforms": ("grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"),
    "cortex_viz.autograd": ("visualize_graph",),
    "cortex_viz.drawing": ("draw", "draw_plan"),
}
_HOME_OF = {name: (home, name) for home, names in _HOMES.items() for name in names}
_HOME_OF["find_data"] = ("cortex_core.training.source", "find")
_HOME_OF["register_data"] = ("cortex_core.training.source", "register")
_MODULES = ("autograd", "data", "descent", "nn", "optim", "sklearn", "surgery")
# PyTorch's words for types and numbers, which a star import leaves out: they are Python's, or too short.
_WORDS = {
    **{word: ("cortex_compute.types", name) for word, name in (
        ("bool", "bool_"), ("double", "float64"), ("float", "float32"), ("half", "float16"),
        ("int", "int32"), ("long", "int64"),
    )},
    **{word: ("math", word) for word in ("e", "inf", "nan", "pi")},
}  # fmt: skip

__all__ = ["__version__", *_MODULES, *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"cortex.{name}")
    if name in _HOME_OF or name in _WORDS:
        module, attribute = _HOME_OF.get(name) or _WORDS[name]
        value = getattr(import_module(module), attribute)
    elif not name.startswith("_") and name in (ops := _ops()):
        value = ops[name]
    else:
        raise AttributeError(f"module 'cortex' has no attribute {name!r}. {_meant(name)}".rstrip(" ."))
    globals()[name] = value
    return value


def _ops() -> dict[str, Any]:
    """The ops of the language by name: `cortex.exp`.  A star import leaves out `sum` and its like."""
    import_module("cortex_core.ops.operators")
    names: dict[str, Any] = import_module("cortex_core.ops.table").face()
    return names


def _meant(name: str) -> str:
    if name.startswith("_"):
        return ""
    nearest = import_module("cortex_core.registry.nearest").nearest
    return str(nearest(name, __dir__()))


def __dir__() -> list[str]:
    return sorted({*__all__, *_WORDS, *_ops()})
