"""A small model of each class that is imported, with settings at random, in both formats of files."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.at import TRANSLATORS
from tests.exchange.keras.cases import CASES, ELSEWHERE, Case, Inner
from tests.exchange.keras.support import check_layers

few = settings(max_examples=3, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck])


def test_every_class_has_a_case() -> None:
    translators.load()
    assert sorted(TRANSLATORS) == sorted([*CASES, *ELSEWHERE])


@pytest.mark.peers
@pytest.mark.parametrize("name", CASES)
@few
@given(st.data())
def test_it_gives_what_it_gives_in_keras(name: str, data: Any) -> None:
    case = CASES[name]
    drawn = data.draw(st.fixed_dictionaries(case.settings), label="settings")
    shapes = data.draw(st.sampled_from(case.shapes), label="shapes")
    assume(not case.unless(drawn))

    def call(*xs: Any) -> Any:
        import keras

        return keras.tree.flatten(case.call(_layer(name, case, drawn), *xs))

    check_layers(None, *shapes, call=call, tokens=case.tokens)


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
