"""What an import costs, counted in modules: time is too noisy to test."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cortex

HEAVY = "sklearn scipy pandas matplotlib PIL pooch h5py yaml tqdm threadpoolctl platformdirs torch keras"

EVERYTHING = """
import importlib, pkgutil
for name in ("cortex", "cortex_viz", "cortex_core", "cortex_compute", "cortex_datasets"):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


def modules(code: str) -> set[str]:
    """The modules that are loaded after ``code`` has run in a fresh interpreter."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_import_cortex_loads_little() -> None:
    loaded = modules("import cortex")
    assert len(loaded) <= 300
    assert "numpy" not in loaded


@pytest.mark.parametrize("name", ["network", "compile", "check", "Tensor", "layer"])
def test_the_first_use_loads_little_beside_numpy(name: str) -> None:
    assert len(modules(f"import cortex; cortex.{name}") - modules("import numpy")) <= 300


def test_no_module_imports_a_heavy_library_at_its_top() -> None:
    assert modules(EVERYTHING) & set(HEAVY.split()) == set()


@pytest.mark.parametrize("name", cortex.__all__)
def test_every_name_of_the_face(name: str) -> None:
    assert getattr(cortex, name) is not None
    assert name in dir(cortex)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'nix'"):
        cortex.nix  # noqa: B018
