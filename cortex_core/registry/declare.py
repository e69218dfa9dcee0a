"""Declaring what a description may name: the decorators, the registries, and building from plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cortex_compute.errors import SpecError
from cortex_core.registry.classes import (
    AUGMENTATIONS,
    CONSTRAINTS,
    INITIALIZERS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    READERS,
    SCHEDULES,
    SPLITS,
    STREAMS,
    Registry,
    declare,
    field,
)
from cortex_core.registry.kinds import FromClass
from cortex_core.registry.named import Named

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Callable[[Any], Any]:
        return lambda decorator: decorator


T = TypeVar("T")

Initializer = Annotated[Any, FromClass(lambda limits, rank: Named(INITIALIZERS, "initializer"))]
"""A registered initialiser."""

Activation = Annotated[Any, FromClass(lambda limits, rank: Named(LAYERS, "activation", "is_activation"))]
"""A registered layer that is an activation, such as ``relu`` or ``{leaky_relu: {slope: 0.1}}``."""

Optimizer = Annotated[Any, FromClass(lambda limits, rank: Named(OPTIMIZERS, "optimizer"))]
"""A registered optimiser."""

Schedule = Annotated[Any, FromClass(lambda limits, rank: Named(SCHEDULES, "schedule"))]
"""A registered schedule of the learning rate."""

Split = Annotated[Any, FromClass(lambda limits, rank: Named(SPLITS, "split"))]
"""A registered way to divide examples, such as ``stratified`` or ``{grouped: {by: patient}}``."""

Augmentation = Annotated[Any, FromClass(lambda limits, rank: Named(AUGMENTATIONS, "augmentation"))]
"""A registered way to vary examples, such as ``flip`` or ``{rotate: 10}``."""


def _register(
    registry: Registry, kind: str, *needs: str, **attributes: object
) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        for method in needs:
            if not callable(getattr(cls, method.partition("(")[0], None)):
                raise SpecError(f"{registry.noun} '{kind}': the class {cls.__name__} has no method {method}")
        made = declare(cls)
        for name, value in {"kind": kind, **attributes}.items():
            setattr(made, name, value)
        registry.add(kind, made)
        return made

    return decorate


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def base(cls: type[T]) -> type[T]:
    """A class that others inherit fields from; it is not registered itself."""
    return declare(cls)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A mapping of fields that stands inside another, such as ``early_stopping``."""
    made = declare(cls)
    made._is_record = True  # type: ignore[attr-defined]
    return made


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def layer(
    kind: str,
    *,
    main: str | None = None,
    inputs: int | str | tuple[int, ...] = 1,
    rank: int = 1,
    transparent: bool = False,
    activation: bool = False,
    suits: str | None = None,
    outputs: tuple[str, ...] = (),
    positionwise: bool = False,
) -> Callable[[type[T]], type[T]]:
    """Registers a layer.

    ``main`` is the field of ``dense: 500``.  ``inputs`` is a number, several of which one holds, or
    ``"several"`` for two or more.
    ``rank`` counts the spatial axes of Size and Padding fields.  ``transparent`` layers are looked through
    when an ``auto`` initialiser searches the activation that follows.  An ``activation`` may stand in
    Activation fields.  ``suits`` is the initialiser for what comes before it, of an activation
    glorot_uniform where it says none.  ``outputs`` names what a
    layer gives beside its value, such as ``mask`` (read as ``ID.mask``): then ``forward`` may return
    ``(value, {name: value})``, and ``lacks()`` says what field would give one that it does not return.
    ``positionwise``: the forward treats each position of axis 1 by itself, as all activations do; a layer
    that looks back may have a ``step`` instead (`cortex_core.layers.stepping`).
    """
    return _register(
        LAYERS,
        kind,
        "forward(self, p, x)",
        main=main,
        inputs=inputs,
        rank=rank,
        transparent=transparent,
        is_activation=activation,
        suits=suits or ("glorot_uniform" if activation else None),
        outputs=outputs,
        positionwise=positionwise or activation,
    )


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def loss(kind: str, *, target: bool = True, logits: bool = False) -> Callable[[type[T]], type[T]]:
    """Registers a loss; its main field is the target.  One without (``target=False``) may stand on any node,
    or on a parameter.

    The target has the type of the node, and the node is what people want to see, unless the class says
    otherwise by ``target_type(x)`` and ``prediction(x)``.  A loss with ``logits`` takes a softmax of its
    node: of one that ends in softmax it gets what goes into that.  What fields name (`Source`, `Stream`)
    comes as keywords.  With ``parameters(x)`` a loss has parameters and variables, and gets a `Scope` as
    ``p``.  Of numbers that come as targets it may say by ``wrong(x, target, **streams)`` which is the first
    example that it cannot take, and why, and by ``absent(target)`` which examples have no label.
    """
    needs = "per_sample(self, x, target)" if target else "per_sample(self, x)"
    main = "target" if target else "weight"
    register = _register(LOSSES, kind, needs, main=main, has_target=target, logits=logits)

    def decorate(cls: type[T]) -> type[T]:
        for name in ("target_type", "prediction"):
            if not hasattr(cls, name):
                setattr(cls, name, _itself)
        return register(cls)

    return decorate


def _itself(loss: Any, x: Any) -> Any:
    return x


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def metric(kind: str, *, main: str | None = None) -> Callable[[type[T]], type[T]]:
    """Registers a metric."""
    return _register(METRICS, kind, "sums(self, x, target, weight)", main=main)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def optimizer(kind: str) -> Callable[[type[T]], type[T]]:
    """Registers an optimiser; its main field is the learning rate."""
    return _register(OPTIMIZERS, kind, "update(self, p, g, *state, **scalars)", main="learning_rate")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def schedule(kind: str, *, main: str | None = None) -> Callable[[type[T]], type[T]]:
    """Registers a schedule of the learning rate."""
    return _register(SCHEDULES, kind, "rate(self, base, step, ...)", main=main)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def initializer(kind: str, *, main: str | None = None) -> Callable[[type[T]], type[T]]:
    """Registers an initialiser."""
    return _register(INITIALIZERS, kind, "draw(self, shape, generator, fan)", main=main)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def split(kind: str, *, main: str | None = None) -> Callable[[type[T]], type[T]]:
    """Registers a way to divide examples into parts and folds; see `cortex_core.splits`."""
    needs = "divide(self, rows, fractions, column)", "folds(self, rows, k, column)"
    return _register(SPLITS, kind, *needs, main=main)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def stream(kind: str) -> Callable[[type[T]], type[T]]:
    """Registers a stream that is made of another one of the data, ``of``; see `cortex_core.derived`."""
    return _register(STREAMS, kind, "derive(self, x)", "given(self, wanted, x)", main="of")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def constraint(kind: str, *, main: str | None = None) -> Callable[[type[T]], type[T]]:
    """Registers what holds for a parameter after each update; see `cortex_core.constraints`."""
    return _register(CONSTRAINTS, kind, "apply(self, p)", main=main)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def reader(
    kind: str, *, main: str | None = None, suffixes: tuple[str, ...] = ()
) -> Callable[[type[T]], type[T]]:
    """Registers a way to read data, which ``train.data`` names; see `cortex_core.training.examples`.

    ``main`` is the field of ``data: {table: people.csv}``.  A file with one of the ``suffixes`` may stand
    alone: ``data: people.csv``.
    """
    return _register(READERS, kind, "open(self, find)", main=main, suffixes=suffixes)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def augmentation(kind: str, *, main: str | None = None) -> Callable[[type[T]], type[T]]:
    """Registers a way to vary examples, for ``train.augment``."""
    return _register(AUGMENTATIONS, kind, "apply(self, ...)", main=main)
