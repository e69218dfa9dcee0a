"""What a layer declares, and what it sees.

A layer yields `Parameter` and `Variable` declarations from ``parameters(*types)``.  Its ``forward(p,
*inputs)`` sees a `Scope` ``p``, and nothing else: parameters and variables by name, whether this is
training, random masks, and a way to say what a variable becomes.  Train, evaluate and predict are three
traces of the same forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cortex_compute.frozen import frozen
from cortex_core.ops.random import bernoulli, random_normal, random_uniform, stream_of


@frozen
class Parameter:
    """Something that is learned: its name inside the layer, its shape, and a registered initialiser.

    Where a network trains in less than float32, the layer sees it rounded, unless it is ``precise``.
    ``parts`` names equal parts along the last axis, such as the gates of an LSTM: each is drawn by itself,
    by an initialiser of its own where there is a tuple of them.  ``fan`` is what initialisers take for
    (fan_in, fan_out) where the shape does not tell: see `cortex_core.initializers.fans`.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Any
    precise: bool = False
    parts: tuple[str, ...] = ()
    fan: tuple[int, int] | None = None


@frozen
class Variable:
    """Something that is kept but not learned, such as a running mean; ``value`` fills it at the start.

    What is ``carried`` is there once for each example of a batch, and filled anew at the start of an epoch.
    """

    name: str
    shape: tuple[int, ...]
    value: float = 0.0
    carried: bool = False


class Scope:
    """The world of one layer during one trace.

    ``values`` holds the parameters and variables by name; ``on_update(name, value)`` records what a
    variable becomes, and a later read in the same step sees it.  ``key`` is the random key, ``path``
    the layer's id, from which the number streams are derived, so that a change elsewhere does not
    change the masks here.  ``frozen``: the layer is ``trainable: false``.
    """

    def __init__(
        self,
        values: dict[str, Any],
        training: bool,
        path: str,
        key: Any = None,
        on_update: Callable[[str, Any], None] | None = None,
        occurrence: int = 0,
        frozen: bool = False,
    ) -> None:
        self.training = training
        self.frozen = frozen
        self._values = values
        self._path = path
        self._key = key
        self._on_update = on_update
        self._draws = occurrence * 1000

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"{self._path} has no parameter {name!r}") from None

    def inner(self, prefix: str) -> Scope:
        """The world of a layer inside this one, whose names begin with ``prefix`` here."""
        return Inner(self, prefix)

    def get(self, name: str) -> Any | None:
        """A parameter, or None where the layer declared none of that name."""
        return self._values.get(name)

    def update(self, name: str, value: Any) -> None:
        """From the next step on the variable ``name`` holds ``value``."""
        self._values[name] = value
        if self._on_update is not None:
            self._on_update(name, value)

    def bernoulli(self, probability: float, shape: tuple[int, ...]) -> Any:
        """True with this probability, anew at each step.  Bool."""
        return bernoulli(self._key, probability, shape, self._stream())

    def uniform(self, shape: tuple[int, ...], dtype: object = "float32") -> Any:
        """Uniform in [0, 1), anew at each step."""
        return random_uniform(self._key, shape, self._stream(), dtype)

    def normal(self, shape: tuple[int, ...], dtype: object = "float32") -> Any:
        """Standard normal, anew at each step."""
        return random_normal(self._key, shape, self._stream(), dtype)

    def _stream(self) -> int:
        self._draws += 1
        return stream_of(self._path, self._draws)


class Inner(Scope):
    """The names of another scope that begin with a prefix, without it."""

    def __init__(self, outer: Scope, prefix: str) -> None:
        self.training, self.frozen = outer.training, outer.frozen
        self._outer, self._prefix = outer, prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outer, self._prefix + name)

    def get(self, name: str) -> Any | None:
        return self._outer.get(self._prefix + name)

    def update(self, name: str, value: Any) -> None:
        self._outer.update(self._prefix + name, value)

    def bernoulli(self, probability: float, shape: tuple[int, ...]) -> Any:
        return self._outer.bernoulli(probability, shape)

    def uniform(self, shape: tuple[int, ...], dtype: object = "float32") -> Any:
        return self._outer.uniform(shape, dtype)

    def normal(self, shape: tuple[int, ...], dtype: object = "float32") -> Any:
        return self._outer.normal(shape, dtype)
