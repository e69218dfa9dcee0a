"""Functions of values and numbers: a name, operands in order, and options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.activations import ALONG, NAMED, Written, applied, rectifier
from cortex_core.exchange.keras.at import At, Result
from cortex_core.exchange.keras.core import scaled, scaled_along
from cortex_core.exchange.keras.merging import alike, concatenated
from cortex_core.exchange.keras.old import STEEP
from cortex_core.exchange.keras.value import Value


@dataclass
class Operation:
    """A function of values and numbers."""

    at: At
    name: str
    operands: list[Any]
    options: Mapping[str, Any]
    asked: set[str] = field(default_factory=set)

    def value(self) -> Value:
        """The only operand."""
        if len(self.operands) != 1 or not isinstance(self.operands[0], Value):
            raise Unfit(f"{self.name} of {len(self.operands)} operands; expected one value")
        return self.operands[0]

    def option(self, *names: str, default: Any = None) -> Any:
        """An option, under the first of its names that is there.  What nobody asks for is refused."""
        self.asked.update(names)
        found = (self.options[name] for name in names if self.options.get(name) is not None)
        return next(found, default)

    def unread(self) -> list[str]:
        """Options that nobody has asked for, and which may change what is computed."""
        told = {key: x for key, x in self.options.items() if key not in self.asked and key != "name"}
        return [f"{key}={x!r:.40}" for key, x in told.items() if x is not None and x is not False]


Made = TypeVar("Made", bound=Callable[[Operation], Result])
OPERATIONS: dict[str, Callable[[Operation], Result]] = {}


def operation(*names: str) -> Callable[[Made], Made]:
    """Registers what becomes of functions of these names, in small letters and without underscores.

    A name has the module in front where those of other modules do something else.
    """

    def decorate(made: Made) -> Made:
        OPERATIONS.update(dict.fromkeys(names, made))
        return made

    return decorate


def translated(found: Operation) -> Result:
    """What becomes of an operation.  Raises `Unfit` for one that is not known, or has unknown options.

    Functions hand no mask on.  In Keras 3 it hangs on the array: where a function gives its operand itself,
    as some do that have nothing to do, in some backends, it stays.
    """
    full = found.name.replace("_", "").lower()
    module, _, name = full.rpartition(".")
    name = full if full in OPERATIONS else name
    if name not in OPERATIONS or module in OTHERS:
        raise Unfit(f"the function {found.name!r:.60} is not known; map it to a block")
    found.name = name
    made = OPERATIONS[name](found)
    if left := found.unread():
        raise Unfit(f"the function {name} with {', '.join(left)} is not supported")
    several = [made] if isinstance(made, Value) else made
    if found.at.version >= (3,) and name not in COPYING and any(x.mask for x in several):
        raise Unfit(
            f"{name} that leaves a masked value as it is: some backends of Keras keep the mask, others do not"
        )
    several = [replace(x, mask=None) for x in several]
    return several[0] if isinstance(made, Value) else several


COPYING = ("tile", "repeat", "roll", "copy")
"""These give another array in all backends of Keras 3, even where they have nothing to do."""
OTHERS = ("experimental.numpy",)
"""Modules of TensorFlow whose functions take other arguments than those of the same names."""


def valued(found: Operation, *names: str) -> tuple[Value, Any]:
    """The value, with axes as Keras has them, and what stands behind it or under one of these names."""
    told = found.option(*names)
    if told is None and len(found.operands) == 2:
        told = found.operands.pop()
    return found.at.plain(found.value()), told


def places(given: Any, rank: int) -> list[int]:
    """Axes from 1 to rank - 1, of one or of a list, in their order, each of them once."""
    axes = [*given] if isinstance(given, (list, tuple)) else [given]
    if not axes or any(type(a) is not int or not -rank <= a < rank or a % rank == 0 for a in axes):
        told = f"axis is {given!r:.40}; supported: 1 to {rank - 1}, or from the end"
        raise Unfit(f"{told}; the examples of a batch stay apart here")
    return sorted({a % rank for a in axes})


def place(given: Any, rank: int) -> int:
    """An axis from 1 to rank - 1, which may stand in a list of one."""
    found = places(given, rank)
    if len(found) > 1:
        raise Unfit(f"axis is {given!r:.40}; one axis is supported")
    return found[0]


# Two operands


def _pair(found: Operation) -> tuple[Any, Any]:
    if len(found.operands) != 2:
        raise Unfit(f"{found.name} of {len(found.operands)} operands; expected two")
    a, b = found.operands
    if found.name in REVERSED:
        a, b = b, a
    if not isinstance(a, Value) and not isinstance(b, Value):
        raise Unfit(f"{found.name} of two numbers")
    return a, b


REVERSED = ("radd", "rsub", "rmul", "rtruediv")


def _merged(found: Operation, kind: str, *given: Value) -> Value:
    """Several values, as NumPy takes them together; of one rank, so that the examples meet."""
    if len({len(x.shape) for x in given}) > 1:
        raise Unfit(f"{found.name} of values with other numbers of axes: {', '.join(map(_shown, given))}")
    return found.at.put(kind, alike(found.at, given))


def _shown(x: Value) -> str:
    return str([*x.shape])


@operation("add", "addv2", "radd")
def add(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "add", a, b)
    return scaled(found.at, a, 1, b) if isinstance(a, Value) else scaled(found.at, b, 1, a)


@operation("biasadd")
def add_bias(found: Operation) -> Value:
    """Numbers of each channel, which are first or last in TensorFlow's orders."""
    x, bias = _pair(found)
    if not isinstance(x, Value) or isinstance(bias, Value):
        raise Unfit("a bias is supported of numbers that are added to a value")
    order, numbers = str(found.option("data_format", default="N...C")), array(bias)
    axis = 1 if order in CHANNELS_FIRST else -1
    if order not in (*CHANNELS_FIRST, *CHANNELS_LAST):
        raise Unfit(
            f"data_format is {order!r:.40}; supported: {', '.join((*CHANNELS_FIRST, *CHANNELS_LAST))}"
        )
    return scaled_along(found.at, x, axis, [np.ones_like(numbers), numbers])


CHANNELS_FIRST = ("NC...", "NCW", "NCHW", "NCDHW", "channels_first")
CHANNELS_LAST = ("N...C", "NWC", "NHWC", "NDHWC", "channels_last")


@operation("subtract", "sub", "rsub")
def subtract(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "subtract", a, b)
    return scaled(found.at, a, 1, -array(b)) if isinstance(a, Value) else scaled(found.at, b, -1, a)


@operation("squareddifference")
def squared_difference(found: Operation) -> Value:
    return found.at.put("power", subtract(found), exponent=2)


@operation("multiply", "mul", "rmul")
def multiply(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "multiply", a, b)
    return scaled(found.at, a, b) if isinstance(a, Value) else scaled(found.at, b, a)


@operation("divide", "truediv", "truedivide", "realdiv", "rtruediv", "div")
def divide(found: Operation) -> Value:
    """Of whole numbers too it gives floating ones; div, of TensorFlow's graphs, would truncate."""
    pair = _pair(found)
    if found.name == "div" and any(x.dtype == "int64" or x.whole for x in pair if isinstance(x, Value)):
        raise Unfit(f"{found.name} of whole numbers truncates, which is not supported")
    a, b = (found.at.floats(x) if isinstance(x, Value) else x for x in pair)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, "divide", a, b)
    if isinstance(a, Value):
        return scaled(found.at, a, 1 / array(b))
    return scaled(found.at, found.at.put("power", b, part="inverse", exponent=-1), a)


@operation("power", "pow")
def power(found: Operation) -> Value:
    a, b = _pair(found)
    if not isinstance(a, Value) or isinstance(b, Value) or array(b).size != 1:
        raise Unfit("a power is supported of a value to a number")
    return found.at.put("power", a, exponent=float(array(b).reshape(())))


@operation("maximum", "minimum")
def extreme(found: Operation) -> Value:
    a, b = _pair(found)
    if isinstance(a, Value) and isinstance(b, Value):
        return _merged(found, found.name, a, b)
    x, bound = (a, b) if isinstance(a, Value) else (b, a)
    if array(bound).size > 1:
        return _merged(found, found.name, x, constant(found.at, x, bound, "bound"))
    return _between(found, x, *((bound, math.inf) if found.name == "maximum" else (-math.inf, bound)))


def _between(found: Operation, x: Value, minimum: Any, maximum: Any) -> Value:
    """What lies outside becomes the bound; an infinite one bounds nothing."""
    x = beside(found.at, x, *(bound for bound in (minimum, maximum) if abs(number(bound)) != math.inf))
    low = None if number(minimum) == -math.inf else number(minimum)
    high = None if number(maximum) == math.inf else number(maximum)
    kind = "linear" if low is None and high is None else "clip"
    return found.at.put(kind, x, minimum=low, maximum=high)


def beside(at: At, x: Value, *others: Any) -> Value:
    """A value as Keras has it beside numbers: floating beside floating ones.

    Raises `Unfit` for whole ones that its narrow type does not hold, in which Keras wraps them.
    """
    given = [array(other) for other in others if not isinstance(other, Value)]
    if any(numbers.dtype.kind == "f" for numbers in given):
        return at.floats(x)
    ends = np.iinfo(x.whole) if x.whole else None
    if ends and any(numbers.min() < ends.min or numbers.max() > ends.max for numbers in given):
        raise Unfit(f"numbers beside {x.whole} that it does not hold; cast the value before it, in Keras")
    return x


def constant(at: At, like: Value, numbers: Any, part: str) -> Value:
    """Numbers as a value of the shape of another one, whatever that holds."""
    if like.dtype != "bool":
        like = at.put("compare", at.plain(like), part=f"{part}_like", operation="equal", value=0.0)
    zeros = at.put("where", like, part=f"{part}_zeros", then=0.0, otherwise=0.0)
    return scaled(at, zeros, 1, numbers, part=part)


def array(given: Any) -> np.ndarray:
    """Numbers in 64 bits: whole ones stay whole."""
    try:
        found = np.asarray(given)
        return found.astype(np.int64 if found.dtype.kind == "i" else np.float64)
    except (TypeError, ValueError):
        raise Unfit(f"{given!r:.60} is no number, and no list of them") from None


def number(given: Any) -> float:
    found = array(given)
    if found.size != 1:
        raise Unfit(f"{given!r:.60} is no number")
    return float(found.reshape(()))


# One operand


@operation("clip", "clipbyvalue")
def clip(found: Operation) -> Value:
    """The bounds come as options, or as operands."""
    names = (("x_min", "min_value", "clip_value_min"), ("x_max", "max_value", "clip_value_max"))
    x, *given = found.operands
    given += [bound for name in names if (bound := found.option(*name)) is not None]
    if not isinstance(x, Value) or len(given) != 2:
        raise Unfit("clip needs a value, and a number for each bound")
    return _between(found, x, *given)


EXPONENTS: dict[str, float] = {"square": 2, "sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1}


@operation("negative", "neg")
def negative(found: Operation) -> Value:
    return scaled(found.at, found.value(), -1)


@operation(*EXPONENTS)
def root(found: Operation) -> Value:
    x = found.value()
    x = x if found.name == "square" else found.at.floats(x)
    return found.at.put("power", x, exponent=EXPONENTS[found.name])


@operation("keras.backend.sqrt")
def root_of_positive(found: Operation) -> Value:
    """That of Keras 2 is 0 for what is negative."""
    positive = found.at.put("clip", found.at.floats(found.value()), part="positive", minimum=0.0)
    return found.at.put("power", positive, exponent=0.5)


@operation("abs", "absolute")
def absolute(found: Operation) -> Value:
    x = found.value()
    return found.at.put("maximum", [x, scaled(found.at, x, -1, part="negative")])


@operation("log", "log1p", "expm1", "sin", "cos", "erf")
def elementwise(found: Operation) -> Value:
    return found.at.put("elementwise", found.at.floats(found.value()), function=found.name)


def _called() -> Iterator[tuple[str, Written]]:
    """Activations as functions, by the names that operations have."""
    yield from ((name.replace("_", ""), written) for name, written in NAMED.items() if "." not in name)
    yield "exp", NAMED["exponential"]


ACTIVATIONS = dict(_called())


@operation(*ACTIVATIONS)
def activate(found: Operation) -> Value:
    x, (name, fields) = found.value(), ACTIVATIONS[found.name]
    if name in ALONG:
        fields = {"axis": _along(found)}
    elif name == "hard_sigmoid" and not fields and found.at.version < (3,):
        name, fields = NAMED[STEEP]
    elif name == "silu" and found.option("beta", default=1.0) != 1:
        raise Unfit("silu is supported with beta 1")
    elif name == "leaky_relu":
        fields = {"slope": float(found.option("negative_slope", "alpha", default=0.2))}
    elif name in ("elu", "celu"):
        fields = {"alpha": float(found.option("alpha", default=1.0))}
    elif name == "gelu":
        name = "gelu_tanh" if found.option("approximate", default=found.at.kind == "ops.Gelu") else "gelu"
    elif name in ("soft_shrink", "hard_shrink"):
        fields = {"threshold": float(found.option("threshold", default=0.5))}
    elif name == "squareplus":
        fields = {"b": float(found.option("b", default=4.0))}
    elif name == "relu":
        name, fields = _relu(found)
    return applied(found.at, (name, fields), x)


def _along(found: Operation) -> int:
    """The axis of a softmax; None is the last one in TensorFlow, which writes none, and all in Keras 3."""
    axis = found.option("axis", "dim", default=-1)
    if found.options.get("axis", axis) is None:
        raise Unfit(f"{found.name} along all axes; the examples of a batch stay apart here")
    return int(number(axis))


def _relu(found: Operation) -> Written:
    slope = found.option("negative_slope", "alpha", default=0.0)
    return rectifier(found.option("max_value"), slope, found.option("threshold", default=0.0))


@operation("identity", "stopgradient", "copy", "converttotensor")
def same(found: Operation) -> Value:
    """Keras 3 writes a conversion of the mask that its attention hands on."""
    x, to = found.value(), found.option("dtype")
    if to not in (None, x.whole or x.dtype):
        raise Unfit(f"{found.name} of {x.whole or x.dtype} to {to!r:.40} is not supported")
    return x


FLOATS = (
    *("float16", "bfloat16", "float32", "float64"),
    *("DT_HALF", "DT_BFLOAT16", "DT_FLOAT", "DT_DOUBLE"),
)


@operation("cast")
def cast(found: Operation) -> Value:
    """To floating numbers, which are in float32 here."""
    found.option("Truncate")
    x, to = found.value(), found.option("dtype", "DstT")
    if to not in FLOATS:
        raise Unfit(f"a cast of {x.dtype} to {to!r:.40} is not supported")
    return replace(x, whole="") if x.dtype == "float32" else found.at.put("cast", replace(x, whole=""))


@operation("concat", "concatv2", "concatenate")
def side_by_side(found: Operation) -> Value:
    """The axis may be the last operand."""
    given = found.operands
    told = given.pop() if given and not isinstance(given[-1], Value) else -1
    axis = found.option("axis", default=told)
    if not given or not all(isinstance(x, Value) for x in given):
        raise Unfit("values joined with numbers are not supported")
    if len(given) == 1:
        return found.value()
    return concatenated(found.at, [replace(x, mask=None) for x in given], int(number(axis)))


@operation("addn")
def total(found: Operation) -> Value:
    if not all(isinstance(x, Value) for x in found.operands):
        raise Unfit("addn of values with numbers is not supported")
    return _merged(found, "add", *found.operands)
