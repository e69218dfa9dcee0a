"""Small models of each class that is imported, with settings at random, in both formats of files."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.at import TRANSLATORS
from cortex_core.exchange.keras.imported import load
from tests.exchange.keras.cases import CASES, ELSEWHERE, IDLE, NEEDED, REFUSED, Case, Inner
from tests.exchange.keras.support import check_layers

MODELS, LAYERS = 2, 5
"""How many models of a class, and layers in each: together, for compiling is what takes time."""

few = settings(
    max_examples=MODELS,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to find the smallest model that fails would take minutes
    suppress_health_check=[*HealthCheck],
)


def test_every_class_has_a_case() -> None:
    translators.load()
    assert sorted(TRANSLATORS) == sorted([*CASES, *ELSEWHERE])


@pytest.mark.peers
@pytest.mark.parametrize("name", CASES)
def test_every_field_is_drawn(name: str) -> None:
    """A field that a version of Keras has added is seen here."""
    fields = _fields(_class(CASES[name].module, name.rpartition(".")[2]))
    assert not fields - {*CASES[name].settings, *REFUSED.get(name, ()), *IDLE}


def _fields(of_keras: type) -> set[str]:
    """What a prediction may depend on."""
    found = set[str]()
    for kind in of_keras.__mro__:
        if kind.__name__ in ("Layer", "Operation", "KerasSaveable") or "__init__" not in vars(kind):
            continue
        named = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
        found |= {x.name for x in named if x.kind in (x.POSITIONAL_OR_KEYWORD, x.KEYWORD_ONLY)}
    found -= {"self", "name", "dtype", "trainable", "rank", "pool_dimensions", "pool_mode"}
    return {x for x in found if not x.endswith(("_initializer", "_regularizer", "_constraint"))}


@pytest.mark.peers
@pytest.mark.parametrize("name", CASES)
@few
@given(st.data())
def test_it_gives_what_it_gives_in_keras(name: str, data: Any) -> None:
    """Layers beside each other, each alone, called twice, or in a model within the model."""
    case = CASES[name]
    drawn = {repr(one): one for one in (data.draw(_layer_drawn(case)) for _ in range(LAYERS))}
    groups = dict.fromkeys(one[1] for one in drawn.values())

    def call(*xs: Any) -> Any:
        import keras

        rest = iter(xs)
        given = {shapes: [next(rest) for _ in shapes] for shapes in groups}
        return keras.tree.flatten([_called(name, case, one, given[one[1]]) for one in drawn.values()])

    shapes = [shape for group in groups for shape in group]
    inputs = _sequences(shapes) if case.masks else None
    check_layers(None, *shapes, call=call, tokens=case.tokens, inputs=inputs)


def _layer_drawn(case: Case) -> Any:
    """The settings of a layer, the shapes of its inputs, and where it stands."""
    fields = st.fixed_dictionaries(case.settings).filter(lambda found: not case.unless(found))
    places = ("alone", "masked", "masked") if case.masks else ("alone", "twice", "nested")
    return st.tuples(fields, st.sampled_from(case.shapes), st.sampled_from(places))


def _called(name: str, case: Case, drawn: Any, xs: list[Any]) -> list[Any]:
    import keras

    fields, _, place = drawn
    layer = _layer(name, case, fields)
    if place == "nested":
        inner = [keras.Input(x.shape[1:], dtype=x.dtype) for x in xs]
        model = keras.Model(inner, keras.tree.flatten(case.call(layer, *inner)))
        return [model(xs)]
    if place == "masked":  # each has masks of its own: attention takes away those of its inputs
        return [case.call(layer, *(keras.layers.Masking()(x) for x in xs))]
    others = [x if case.tokens else keras.layers.Rescaling(1.0, offset=0.1)(x) for x in xs]
    return [case.call(layer, *given) for given in ([xs, others] if place == "twice" else [xs])]


def _sequences(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Of the first example all steps count, of the others some: the others are 0."""
    rng = np.random.default_rng(0)
    made = [rng.normal(size=(3, *shape)).astype(np.float32) for shape in shapes]
    for x in made:
        x[1, 4:] = 0
        x[2, [0, 2, 3]] = 0
    return made


@pytest.mark.peers
@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, told in REFUSED.items() for field in told]
)
def test_what_is_not_supported_is_refused(name: str, field: str, tmp_path: Path) -> None:
    import keras

    case = CASES[name]
    fields = NEEDED[name] | {field: REFUSED[name][field]}
    xs = [keras.Input(shape) for shape in case.shapes[0]]
    keras.Model(xs, keras.tree.flatten(case.call(_layer(name, case, fields), *xs))).save(tmp_path / "m.keras")
    with pytest.raises(SpecError, match=field):
        load(tmp_path / "m.keras")


def _layer(name: str, case: Case, drawn: dict[str, Any]) -> Any:
    of_keras = _class(case.module, name.rpartition(".")[2])
    return of_keras(**{key: _made(value) for key, value in drawn.items()})


def _class(module: str, name: str) -> Any:
    """A layer, or an operation of whichever module of Keras holds it."""
    if module != "keras.src.ops":
        return getattr(import_module(module), name)
    names = (
        *(f"{module}.{part}" for part in ("numpy", "nn", "math", "core")),
        "keras.src.activations.activations",
    )
    return next(getattr(x, name) for x in map(import_module, names) if hasattr(x, name))


def _made(setting: Any) -> Any:
    """A setting, with layers in place of what tells of them."""
    if isinstance(setting, Inner):
        made = {key: _made(value) for key, value in setting.settings.items()}
        return _class("keras.layers", setting.kind)(**made)
    return [_made(x) for x in setting] if isinstance(setting, list) else setting
