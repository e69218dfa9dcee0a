"""What recurrent layers share: they walk along a sequence and keep a state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from cortex_compute.errors import DTypeError
from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import DType, TensorType
from cortex_core.initializers import GlorotUniform, Orthogonal, zeros
from cortex_core.layers.expect import reasoned, refuse
from cortex_core.layers.scope import Parameter, Scope, Variable
from cortex_core.layers.stepping import StepScope
from cortex_core.ops import recurrence
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.pointwise import cast, less, select
from cortex_core.ops.views import narrow, reshape
from cortex_core.registry import Fault, Initializer, Source, Sources, base, field

MOST_STEPS = 2000
"""Where each is a part of the plan: compiling one of so many takes a minute, and its training several."""
TOO_LONG = (
    f"plans each step by itself, so that there may be {MOST_STEPS:,}; lstm, gru and simple_rnn walk any"
    " number with 'activation' tanh or relu and 'recurrent_activation' sigmoid or hard_sigmoid"
)

Declared = Iterator[Parameter | Variable]


@base
class Recurrence:
    """What all share: `states` says what is kept, `walk` goes along the sequence."""

    kind: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    rank: ClassVar[int]
    is_recurrence: ClassVar[bool] = True
    axes: ClassVar[str] = "(length, features)"

    gives: Literal["last", "sequence", "both"] = field(
        default="last", name="return", doc="the last state, all of them, or all and ID.last (and ID.cell)"
    )
    initial: Sources | None = field(default=None, doc="the first state, in place of zeros")
    mask: Source | None = field(default=None, doc="(length,): which steps count")
    lengths: Source | None = field(default=None, doc="one whole number: how many steps count, from the first")
    reverse: bool = field(default=False, doc="walks from the last step to the first")
    masked: Literal["zero", "hold"] = field(
        default="zero", doc="what a sequence has at a step that does not count: zeros, or the state as it is"
    )
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

    @property
    def unrolled(self) -> bool:
        """Whether each step is a part of the plan, and not all of them one kernel."""
        return True

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
        if self.unrolled and x.shape[1] > MOST_STEPS:
            refuse(f"{self.kind} {TOO_LONG}", x)
        seen = self._seen(x, mask)
        if lengths is not None:
            seen = less(np.arange(x.shape[1]), self._lengths(x, lengths))
        first = self._first(p, x, initial)
        y, *states = self._pieces(p, x, first, seen)
        if self.masked == "hold" and seen is not None and self.gives != "last":
            y = recurrence.held(y, first[0], seen, self.reverse)
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
        return reshape(states[0], y.shape) if self.masked == "hold" else y

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
