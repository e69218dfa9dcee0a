"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from cortex.command.main import run
from cortex_core.registry import LAYERS


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
    """Layers that a test registers are gone after it."""
    monkeypatch.setattr(LAYERS, "_classes", dict(LAYERS._classes))
