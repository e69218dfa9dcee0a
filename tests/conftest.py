"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

import cortex_core.verify.cases  # noqa: F401 (fills what the fixture below copies)
from cortex.command.main import run
from cortex_core.registry import AUGMENTATIONS, LAYERS, LOSSES, READERS
from cortex_core.registry.named import load_plugins
from cortex_core.verify import case


class Said(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``cortex ARGUMENTS`` in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers, losses, readers, augmentations and gradient cases that a test registers are gone after it."""
    for registry in (READERS, AUGMENTATIONS):
        load_plugins(registry.group)
    for registry in (LAYERS, LOSSES, READERS, AUGMENTATIONS):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr(case, "CASES", dict(case.CASES))
