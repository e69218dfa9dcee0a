"""What `x + 3.0` and calls of single functions become in a file: operations without weights.

Keras 3 writes them as ``ops.Add``, tf.keras as TFOpLambda with the name of a function, its first versions as
TensorFlowOpLayer with a node of TensorFlow's graph.  Each is a name, operands (values and numbers, in order)
and options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_core.exchange.keras.activations import NAMED, Written, applied, rectifier
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.build import Unfit, Value
from cortex_core.exchange.keras.core import scaled
from cortex_core.exchange.keras.merging import alike, concatenated

OPERANDS = ("x", "x1", "a", "input", "features", "values", "input_tensor", "t", "y", "x2", "b", "xs")
"""Keywords under which operands come, those of the first before those of the second."""


@dataclass
class Operation:
    """A function of values and numbers."""

    at: At
    name: str
    operands: list[Any]
    options: Mapping[str, Any]

    def value(self) -> Value:
        """The only operand."""
        if len(self.operands) != 1 or not isinstance(self.operands[0], Value):
            raise Unfit(f"{self.name} of {len(self.operands)} operands; expected one value")
        return self.operands[0]

    def option(self, *names: str, default: Any = None) -> Any:
        """An option, under the first of its names that is there."""
        found = (self.options[name] for name in names if self.options.get(name) is not None)
        return next(found, default)


OPERATIONS: dict[str, Callable[[Operation], Value]] = {}


def operation(*names: str) -> Callable[[Callable[[Operation], Value]], Callable[[Operation], Value]]:
    """Registers what becomes of functions of these names, in small letters and without underscores."""

    def decorate(made: Callable[[Operation], Value]) -> Callable[[Operation], Value]:
        OPERATIONS.update(dict.fromkeys(names, made))
        return made

    return decorate


def translated(found: Operation) -> Value:
    """What becomes of an operation.  Raises `Unfit` for one that is not known."""
    name = found.name.rpartition(".")[2].replace("_", "").lower()
    if name not in OPERATIONS:
        raise Unfit(f"the function {found.name!r:.60} is not known")
    found.name = name
    return OPERATIONS[name](found)


def operands(at: At) -> list[Any]:
    """Values and numbers that a function is called with, in order; those of a list one by one."""
    given = [*at.inputs, *(at.keywords[key] for key in OPERANDS if key in at.keywords)]
    found: list[Any] = []
    for x in given:
        several = isinstance(x, (list, tuple)) and any(isinstance(part, Value) for part in x)
        found += x if several else [x]
    return found


def options(at: At) -> dict[str, Any]:
    """What else it is called with."""
    return {key: value for key, value in at.keywords.items() if key not in OPERANDS}


@translates("TFOpLambda")
def function_of_tensorflow(at: At) -> Value:
    return translated(Operation(at, str(at.get("function")), operands(at), options(at)))


@translates("TensorFlowOpLayer")
def node_of_tensorflow(at: At) -> Value:
    """``constants`` are operands by their places among all."""
    node = at.get("node_def")
    if not isinstance(node, Mapping) or "op" not in node:
        raise Unfit("its node_def is text, which is not read")
    constants = {int(place): value for place, value in (at.get("constants", None) or {}).items()}
    values = iter(operands(at))
    count = len(constants) + len(operands(at))
    ordered = [constants[i] if i in constants else next(values) for i in range(count)]
    name, given = str(node["op"]), _of_node(node.get("attr") or {})
    if name in ("ConcatV2", "Mean", "Sum"):
        given["axis"] = ordered.pop()
    return translated(Operation(at, name, ordered, given))


def _of_node(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The flags and numbers among the attributes of a node, which stand as ``{"keep_dims": {"b": true}}``."""
    told = {key: value for key, value in attributes.items() if isinstance(value, Mapping)}
    return {key: next(iter(v.values())) for key, v in told.items() if v.keys() & {"b", "f", "i"}}


# Two operands


def _pair(found: Operation) -> tuple[Any, Any]:
    if len(found.operands) != 2:
        raise Unfit(f"{found.name} of {len(found.operands)} operands; expected two")
    a, b = found.operands
    if found.name.startswith("r") and found.name in REVERSED:
        a, b = b, a
    if not isinstance(a, Value) and not isinstance(b, Value):
        raise Unfit(f"{found.name} of two numbers")
    return a, b


REVERSED = ("radd", "rsub", "rmul", "rtruediv", "rdiv", "rpow")


def _merged(found: Operation, kind: str, *given: Value) -> Value:
    """Several values, as NumPy takes them together; of one rank, so that the examples meet."""
    if len({len(x.shape) for x in given}) > 1:
        raise Unfit(f"{found.name} of values with other numbers of axes: {', '.join(map(_shown, given))}")
    return found.at.put(kind, alike(found.at, given))


def _shown(x: Value) -> str:
    return str([*x.shape])


@operation("add", "addv2", "radd", "biasadd")
def add(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "add", a, b)
    return scaled(found.at, a, 1.0, b) if isinstance(a, Value) else scaled(found.at, b, 1.0, a)


@operation("subtract", "sub", "rsub")
def subtract(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "subtract", a, b)
    return scaled(found.at, a, 1.0, -_array(b)) if isinstance(a, Value) else scaled(found.at, b, -1.0, a)


@operation("multiply", "mul", "rmul")
def multiply(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "multiply", a, b)
    return scaled(found.at, a, b) if isinstance(a, Value) else scaled(found.at, b, a)


@operation("divide", "truediv", "truedivide", "realdiv", "rtruediv", "rdiv", "div")
def divide(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "divide", a, b)
    if isinstance(a, Value):
        return scaled(found.at, a, 1 / _array(b))
    return scaled(found.at, found.at.put("power", b, part="inverse", exponent=-1), a)


@operation("power", "pow")
def power(found: Operation) -> Value:
    a, b = _pair(found)
    if not isinstance(a, Value) or _array(b).size != 1:
        raise Unfit("a power is supported of a value to a number")
    return found.at.put("power", a, exponent=float(_array(b).reshape(())))


@operation("maximum", "minimum")
def extreme(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, found.name, a, b)
    x, bound = (a, b) if isinstance(a, Value) else (b, a)
    if found.name == "maximum":
        return found.at.put("clip", x, minimum=_number(bound))
    return found.at.put("clip", x, maximum=_number(bound))


def _array(given: Any) -> np.ndarray:
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise Unfit(f"{given!r:.60} is no number, and no list of them") from None


def _number(given: Any) -> float:
    array = _array(given)
    if array.size != 1:
        raise Unfit(f"{given!r:.60} is no number")
    return float(array.reshape(()))


# One operand


@operation("clip", "clipbyvalue")
def clip(found: Operation) -> Value:
    """The bounds come as options, or as operands."""
    names = (("x_min", "min_value", "clip_value_min"), ("x_max", "max_value", "clip_value_max"))
    given = [*found.operands[1:], *(found.option(*name) for name in names)]
    low, high, *_ = [x for x in given if x is not None]
    found.operands = found.operands[:1]
    return found.at.put("clip", found.value(), minimum=_number(low), maximum=_number(high))


FACTORS: dict[str, float] = {"negative": -1.0, "neg": -1.0}
EXPONENTS: dict[str, float] = {"square": 2, "sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1}


@operation(*FACTORS)
def negative(found: Operation) -> Value:
    return scaled(found.at, found.value(), FACTORS[found.name])


@operation(*EXPONENTS)
def root(found: Operation) -> Value:
    return found.at.put("power", found.value(), exponent=EXPONENTS[found.name])


@operation("abs", "absolute")
def absolute(found: Operation) -> Value:
    x = found.value()
    return found.at.put("maximum", [x, scaled(found.at, x, -1.0, part="negative")])


def _called() -> Iterator[tuple[str, Written]]:
    """Activations as functions, by the names that operations have."""
    yield from ((name.replace("_", ""), written) for name, written in NAMED.items() if "." not in name)
    yield "exp", NAMED["exponential"]


ACTIVATIONS = dict(_called())


@operation(*ACTIVATIONS)
def activate(found: Operation) -> Value:
    x, (name, fields) = found.value(), ACTIVATIONS[found.name]
    if name in ("softmax", "log_softmax"):
        fields = {"axis": found.option("axis", "dim", default=-1)}
    elif name == "leaky_relu":
        fields = {"slope": float(found.option("negative_slope", "alpha", default=0.2))}
    elif name in ("elu", "celu"):
        fields = {"alpha": float(found.option("alpha", default=1.0))}
    elif name == "gelu" and found.option("approximate", default=False):
        name = "gelu_tanh"
    elif name in ("soft_shrink", "hard_shrink"):
        fields = {"threshold": float(found.option("threshold", default=0.5))}
    elif name == "squareplus":
        fields = {"b": float(found.option("b", default=4.0))}
    elif name == "relu":
        name, fields = _relu(found)
    return applied(found.at, (name, fields), x)


def _relu(found: Operation) -> Written:
    slope = found.option("negative_slope", "alpha", default=0.0)
    return rectifier(found.option("max_value"), slope, found.option("threshold", default=0.0))


@operation("identity", "stopgradient", "copy")
def same(found: Operation) -> Value:
    return found.value()


@operation("cast")
def cast(found: Operation) -> Value:
    """To floating numbers, which are in float32 here."""
    x, to = found.value(), found.option("dtype", "DstT")
    if to not in ("float16", "bfloat16", "float32", "float64", "DT_FLOAT", 1):
        raise Unfit(f"a cast of {x.dtype} to {to!r:.40} is not supported")
    return x if x.dtype == "float32" else found.at.put("cast", x)


@operation("mean", "reducemean", "sum", "reducesum")
def reduced(found: Operation) -> Value:
    x, axis = found.at.plain(found.value()), found.option("axis", "reduction_indices")
    axes = [axis] if isinstance(axis, int) else [*(axis or ())]
    rank = len(x.shape) + 1
    if not axes or any(a % rank == 0 for a in axes):
        raise Unfit(f"{found.name} along axis {axis!r:.40}; the examples of a batch stay apart here")
    kind = "mean" if found.name.endswith("mean") else "sum"
    keep = bool(found.option("keepdims", "keep_dims", default=False))
    return found.at.put(kind, x, axes=sorted(a % rank for a in axes), keepdims=keep)


@operation("concat", "concatv2", "concatenate")
def joined(found: Operation) -> Value:
    """The axis may be the last operand."""
    *given, last = found.operands
    if isinstance(last, Value):
        given.append(last)
    axis = found.option("axis", default=-1 if isinstance(last, Value) else last)
    if not given or not all(isinstance(x, Value) for x in given):
        raise Unfit("values joined with numbers are not supported")
    return concatenated(found.at, given, int(_number(axis)))


@operation("addn")
def total(found: Operation) -> Value:
    return _merged(found, "add", *found.operands)


def _of_keras(at: At) -> Value:
    """An operation of Keras 3: its configuration has what it was made with."""
    told = {key: at.get(key) for key in at.layer.config if key != "name"}
    return translated(Operation(at, at.kind, operands(at), {**told, **options(at)}))


KERAS = (
    "Add Subtract Multiply Divide TrueDivide Power Maximum Minimum Clip Negative Square Sqrt Rsqrt Reciprocal"
    " Absolute Abs Exp Relu ReLU Relu6 LeakyRelu Elu Selu Celu Gelu Silu Sigmoid LogSigmoid HardSigmoid"
    " HardSilu Tanh TanhShrink HardTanh SoftShrink HardShrink Softplus Softsign Squareplus SparsePlus"
    " SparseSigmoid Softmax LogSoftmax StopGradient Cast Mean Sum Concatenate Copy"
)
translates(*(f"ops.{name}" for name in KERAS.split()))(_of_keras)
