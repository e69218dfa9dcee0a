"""Recurrent layers: they walk along a sequence and keep a state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from cortex_compute.errors import DTypeError
from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import DType, TensorType
from cortex_core.initializers import Constant, GlorotUniform, Orthogonal, zeros
from cortex_core.layers.expect import reasoned, refuse
from cortex_core.layers.scope import Parameter, Scope, Variable
from cortex_core.layers.stepping import StepScope
from cortex_core.ops import recurrence
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.pointwise import cast, less, select
from cortex_core.ops.views import narrow, reshape
from cortex_core.registry import Activation, Fault, Initializer, Source, Sources, base, field, layer

Declared = Iterator[Parameter | Variable]
GATES = ("input", "forget", "cell", "output")


def forget_biased(initializer: Any, forget_bias: float) -> tuple[Any, ...]:
    """The initialisers of the biases of an lstm's gates."""
    forget = Constant(value=forget_bias)
    return tuple(forget if gate == "forget" else initializer for gate in GATES)


@base
class Recurrence:
    """What all share: `states` says what is kept, `walk` goes along the sequence."""

    kind: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    rank: ClassVar[int]
    axes: ClassVar[str] = "(length, features)"

    gives: Literal["last", "sequence", "both"] = field(
        default="last", name="return", doc="the last state, all of them, or all and ID.last (and ID.cell)"
    )
    initial: Sources | None = field(default=None, doc="the first state, in place of zeros")
    mask: Source | None = field(default=None, doc="(length,): which steps count")
    lengths: Source | None = field(default=None, doc="one whole number: how many steps count, from the first")
    reverse: bool = field(default=False, doc="walks from the last step to the first")
    stateful: bool = field(default=False, doc="in training a batch goes on from the states of the one before")
    truncate: int | None = field(
        default=None, doc="no gradient flows back over every so many steps", minimum=1
    )
    use_bias: bool = field(default=True, doc="adds a bias to each gate")
    kernel_initializer: Initializer = field(default=GlorotUniform(), doc="initial weights of the input")
    recurrent_initializer: Initializer = field(default=Orthogonal(), doc="initial weights of the state")
    bias_initializer: Initializer = field(default=zeros, doc="initial bias")

    def check(self) -> Iterator[Fault]:
        """What excludes each other."""
        if self.mask is not None and self.lengths is not None:
            yield Fault(("lengths",), "there is a mask already", "expected one of the two")
        for name in ("initial", "reverse") if self.stateful else ():
            if getattr(self, name):
                found = f"a stateful layer goes on from the batch before, so it has no '{name}'"
                yield Fault((name,), found, "expected one of the two")

    def lacks(self) -> dict[str, str]:
        """The outputs that there are not with these fields, and what would give them."""
        return {} if self.gives == "both" else dict.fromkeys(self.outputs, "return: both")

    def states(self, x: Any) -> dict[str, tuple[int, ...]]:
        """The states of one example by name, with their shapes: first the one that is given as output."""
        raise NotImplementedError

    def weights(self, x: TensorType) -> Declared:
        """The parameters, for an input that suits."""
        raise NotImplementedError

    def walk(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        """The outputs of all steps, and the states after the last one.  ``seen`` (B, T): which count."""
        raise NotImplementedError

    def parameters(self, x: TensorType) -> Declared:
        if x.rank != self.axes.count(",") + 2:
            refuse(f"{self.kind} needs {self.axes}", x)
        if not x.shape[1]:
            refuse(f"{self.kind} needs a sequence of one step at least", x)
        if x.dtype.kind != "float":
            needs = f"{self.kind} needs floating features, not {x.dtype}; an embedding makes them of tokens"
            raise reasoned(DTypeError, f"the input is {x.dtype} {x.shape[1:]}", needs)
        yield from self.weights(x)
        if self.stateful:
            for name, shape in self.states(x).items():
                yield Variable(name, (x.shape[0], *shape), carried=True)

    def forward(
        self, p: Scope, x: Any, mask: Any = None, lengths: Any = None, initial: Sequence[Any] = ()
    ) -> Any:
        seen = self._seen(x, mask)
        if lengths is not None:
            seen = less(np.arange(x.shape[1]), self._lengths(x, lengths))
        y, *states = self._pieces(p, x, self._first(p, x, initial), seen)
        if self.stateful and p.training:
            for name, state in zip(self.states(x), states):
                p.update(name, cast(state, getattr(p, name).dtype).detach())
        if self.gives == "last":
            return states[0]
        given = {name: cast(state, x.dtype) for name, state in zip(self.outputs, states)}
        return (y, given) if self.gives == "both" else y

    def step(
        self, p: StepScope, x: Any, mask: Any = None, lengths: Any = None, initial: Sequence[Any] = ()
    ) -> Any:
        """One position, from the state that the one before has left.  ID.last is not known here: it is that
        of the end."""
        if self.gives == "last" or self.reverse:
            refuse(f"{self.kind} goes along with a sequence by 'return: sequence', and forwards alone", x)
        seen = self._seen(x, mask) if lengths is None else less(p.position, self._lengths(x, lengths))
        sizes, types = self.states(x), self._types(x)
        states = [p.kept(name, (x.shape[0], *shape), types[name]) for name, shape in sizes.items()]
        if initial:
            states = [select(less(p.position, 1), a, b) for a, b in zip(self._initial(x, initial), states)]
        y, *states = self.walk(p, x, states, seen)
        for name, state in zip(sizes, states):
            p.update(name, state)
        return y

    def _pieces(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        """The walk, in training cut where gradients do not pass."""
        steps = x.shape[1]
        size = self.truncate if self.truncate and p.training else steps
        if size >= steps:
            return self.walk(p, x, states, seen)
        starts = range(0, steps, size)
        places = [(start, min(size, steps - start)) for start in starts]
        if self.reverse:
            places = [(steps - start - n, n) for start, n in places]
        ys: dict[int, Any] = {}
        for start, n in places:
            part = None if seen is None else narrow(seen, 1, start, n)
            before = [s.detach() for s in states] if ys else states
            ys[start], *states = self.walk(p, narrow(x, 1, start, n), before, part)
        return concatenate([ys[k] for k in sorted(ys)], 1), *states

    def _types(self, x: Any) -> dict[str, DType]:
        """The data types of the states: a cell is wider than an x of 16 bits."""
        return {name: vector_type(x.dtype) if name == "cell" else x.dtype for name in self.states(x)}

    def _first(self, p: Scope, x: Any, initial: Sequence[Any]) -> list[Any]:
        """The states before the first step."""
        if initial:
            return self._initial(x, initial)
        types = self._types(x)
        if self.stateful and p.training:
            return [cast(getattr(p, name), t) for name, t in types.items()]
        sizes = self.states(x)
        return [recurrence.zeros(TensorType((x.shape[0], *sizes[k]), t), x) for k, t in types.items()]

    def _initial(self, x: Any, given: Sequence[Any]) -> list[Any]:
        sizes = self.states(x)
        wanted = " and ".join(f"{name} {shape}" for name, shape in sizes.items())
        fits = [s.shape == (x.shape[0], *shape) for s, shape in zip(given, sizes.values())]
        if len(given) != len(sizes) or not all(fits):
            refuse(f"{self.kind} needs the initial state{'s' * (len(sizes) > 1)} {wanted}", x, *given)
        if any(s.dtype.kind != "float" for s in given):
            needs = f"{self.kind} needs floating initial states"
            raise reasoned(DTypeError, ", ".join(f"a state is {s.dtype}" for s in given), needs)
        return [cast(s, t) for s, t in zip(given, self._types(x).values())]

    def _seen(self, x: Any, mask: Any) -> Any:
        """Which steps count, as bool (B, T); None: all."""
        if mask is None:
            return None
        if mask.shape != x.shape[:2]:
            refuse(f"{self.kind} needs a mask of one truth for each step, {x.shape[1:2]}", x, mask)
        if mask.dtype.kind == "float":
            needs = f"{self.kind} needs a mask of truths or whole numbers, not {mask.dtype}: 'dtype: bool'"
            raise reasoned(DTypeError, f"the mask is {mask.dtype} {mask.shape[1:]}", needs)
        return mask if mask.dtype.kind == "bool" else mask != 0

    def _lengths(self, x: Any, lengths: Any) -> Any:
        """How many steps count, (B, 1)."""
        if lengths.shape not in (x.shape[:1], (x.shape[0], 1)) or lengths.dtype.kind != "int":
            shown = f"{lengths.dtype} {lengths.shape[1:]}"
            refuse(f"{self.kind} needs lengths of one whole number each, not {shown}", x, lengths)
        return reshape(lengths, (x.shape[0], 1))


@base
class Units:
    """Comes first among the fields."""

    units: int = field(doc="size of the state", minimum=1)


@base
class Gated(Recurrence, Units):
    """The layers whose gates are products of the features and the state with matrices."""

    gates: ClassVar[tuple[str, ...]] = ()

    def states(self, x: Any) -> dict[str, tuple[int, ...]]:
        return {"hidden": (self.units,)}

    def weights(self, x: TensorType) -> Declared:
        width, rows = max(1, len(self.gates)) * self.units, self.states(x)["hidden"][0]
        yield Parameter("kernel", (x.shape[2], width), self.kernel_initializer, parts=self.gates)
        yield Parameter("recurrent_kernel", (rows, width), self.recurrent_initializer, parts=self.gates)
        if self.use_bias:
            yield Parameter("bias", (width,), self.biases(), precise=True, parts=self.gates)

    def biases(self) -> Any:
        """The initialiser of the bias, or one for each gate."""
        return self.bias_initializer

    def vector(self, p: Scope, x: Any, name: str, size: int) -> Any:
        """A bias, or zeros where there is none."""
        if self.use_bias:
            return getattr(p, name)
        return recurrence.zeros(TensorType((size,), vector_type(x.dtype)), x)


@layer("simple_rnn", main="units", outputs=("last",))
class SimpleRnn(Gated):
    """h' = f(x kernel + h recurrent_kernel + bias).   x (B, T, in) -> (B, units), or (B, T, units)

    kernel (in, units), recurrent_kernel (units, units), bias (units,).  Elman, 1990.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [simple_rnn: 3]
    """

    activation: Activation = field(default="tanh", doc="f: tanh or relu")

    def check(self) -> Iterator[Fault]:
        """Also that there is a kernel for the activation."""
        yield from super().check()
        if self.activation.kind not in ("tanh", "relu"):
            yield Fault(("activation",), self.activation.kind, "expected tanh or relu")

    def walk(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        bias = self.vector(p, x, "bias", self.units)
        rest = *states, seen, self.activation.kind, self.reverse
        return recurrence.rnn(x, p.kernel, p.recurrent_kernel, bias, *rest)


@layer("lstm", main="units", outputs=("last", "cell"))
class Lstm(Gated):
    """Long short-term memory: c' = f c + i g,  h' = o tanh(c').

    x (B, T, in) -> (B, units), or (B, T, units).
    i, f, g and o lie side by side in x kernel + h recurrent_kernel + bias; g goes through tanh, the others
    through the sigmoid.  kernel (in, 4 units), recurrent_kernel (units, 4 units), bias (4 units,); with a
    projection h' = o tanh(c') projection, (units, projection).  Hochreiter and Schmidhuber, 1997.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [lstm: {units: 3, return: sequence}]
    """

    gates = GATES
    projection: int | None = field(default=None, doc="size of the output, where it is another", minimum=1)
    forget_bias: float = field(default=1.0, doc="initial bias of the forget gate")

    def check(self) -> Iterator[Fault]:
        """Also that a forget bias that is asked for has a place."""
        yield from super().check()
        if not self.use_bias and self.forget_bias != 1.0:
            yield Fault(
                ("forget_bias",), "without biases there is none to begin with", "expected use_bias: true"
            )

    def states(self, x: Any) -> dict[str, tuple[int, ...]]:
        return {"hidden": (self.projection or self.units,), "cell": (self.units,)}

    def weights(self, x: TensorType) -> Declared:
        yield from super().weights(x)
        if self.projection:
            yield Parameter("projection", (self.units, self.projection), self.kernel_initializer)

    def biases(self) -> Any:
        return forget_biased(self.bias_initializer, self.forget_bias)

    def walk(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        bias = self.vector(p, x, "bias", 4 * self.units)
        rest = *states, p.get("projection"), seen, self.reverse
        return recurrence.lstm(x, p.kernel, p.recurrent_kernel, bias, *rest)


@layer("gru", main="units", outputs=("last",))
class Gru(Gated):
    """Gated recurrent unit: h' = (1 - z) m + z h.

    x (B, T, in) -> (B, units), or (B, T, units).
    r and z are sigmoids of x kernel + h recurrent_kernel + bias.  With ``reset_after`` m = tanh(x kernel +
    bias + r (h recurrent_kernel + recurrent_bias)), else m = tanh(x kernel + bias + (r h) recurrent_kernel).
    kernel (in, 3 units), recurrent_kernel (units, 3 units), bias (3 units,), recurrent_bias (units,).
    Cho et al., 2014.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [gru: 3]
    """

    gates = ("reset", "update", "candidate")
    reset_after: bool = field(default=True, doc="the reset gate multiplies the product with the state")

    def weights(self, x: TensorType) -> Declared:
        yield from super().weights(x)
        if self.use_bias and self.reset_after:
            yield Parameter("recurrent_bias", (self.units,), self.bias_initializer, precise=True)

    def walk(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        bias = self.vector(p, x, "bias", 3 * self.units)
        inner = self.vector(p, x, "recurrent_bias", self.units) if self.reset_after else None
        rest = *states, inner, seen, self.reverse
        return recurrence.gru(x, p.kernel, p.recurrent_kernel, bias, *rest)
