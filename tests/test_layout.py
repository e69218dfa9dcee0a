"""What stands in several files says the same."""

from __future__ import annotations

import ast
import configparser
from importlib import import_module
from pathlib import Path

import pytest

import cortex

ROOT = Path(__file__).parents[1]
PACKAGES = ("cortex", "cortex_viz", "cortex_core", "cortex_compute", "cortex_datasets")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_version(setup: configparser.ConfigParser) -> None:
    assert setup["metadata"]["version"] == cortex.__version__
    assert cortex.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_entry_points_lead_somewhere(setup: configparser.ConfigParser) -> None:
    points = setup["options.entry_points"]
    lines = [line for group in points.values() for line in group.splitlines() if line]
    assert len(lines) >= 8
    for line in lines:
        module, _, attribute = line.partition("=")[2].strip().partition(":")
        found = import_module(module)
        if attribute:  # else the module registers what it holds
            found = getattr(found, attribute)
            assert callable(found) or hasattr(found, "streams")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_every_module_says_what_it_is_for() -> None:
    silent = [p for p in MODULES if p.read_text() and not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


def test_every_folder_with_modules_is_a_package() -> None:
    assert [p.parent for p in MODULES if not (p.parent / "__init__.py").exists()] == []
