"""What an import costs, counted in modules: time is too noisy to test."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cortex
from cortex_core.registry import LAYERS, LOSSES, Registry
from tests.exchange.keras.handmade import dense, save_named, sequential, weights_of

HEAVY = "sklearn scipy pandas matplotlib PIL pooch h5py yaml tqdm threadpoolctl platformdirs torch keras"

KERAS = "cortex_core.exchange.keras"

# Estimators are classes of scikit-learn's: their modules are loaded when one is asked for.
EVERYTHING = """
import importlib, pkgutil
for name in ("cortex", "cortex_viz", "cortex_core", "cortex_compute", "cortex_datasets"):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        if not module.name.endswith("__main__") and not module.name.startswith("cortex.sklearn."):
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


def test_a_prediction_of_an_imported_model_loads_what_it_needs(tmp_path: Path) -> None:
    weights = {"hidden": weights_of("hidden", 3, 4), "out": weights_of("out", 4, 2)}
    path = save_named(tmp_path / "model.h5", weights, sequential(dense("hidden", 4), dense("out", 2)))
    code = f"import cortex, numpy\ncortex.from_keras({str(path)!r}).predict(numpy.ones((1, 3)))"
    loaded = modules(code) - modules("import numpy, h5py")
    assert len(loaded) <= 220
    homes = ("cortex_core.layers.", "cortex_core.losses.", "cortex_compute.primitives.")
    families = {name.rpartition(".")[2] for name in loaded if name.startswith(homes)}
    assert families.isdisjoint({"conv", "recurrent", "attention", "ctc", "yolo2"})
    assert loaded.isdisjoint(
        {f"{KERAS}.{name}" for name in ("convolution", "recurrent", "functions", "former")}
    )
    assert loaded.isdisjoint({"zipfile", "difflib", "click", "yaml", "cortex_core.training.trainer"})


def test_no_module_imports_a_heavy_library_at_its_top() -> None:
    assert modules(EVERYTHING) & set(HEAVY.split()) == set()


@pytest.mark.parametrize("registry", [LAYERS, LOSSES], ids=["layers", "losses"])
def test_each_name_stands_in_the_module_that_the_table_says(registry: Registry) -> None:
    home = import_module(registry.home)
    for found in pkgutil.iter_modules(home.__path__):
        import_module(f"{registry.home}.{found.name}")
    told = {kind: f"{home.__name__}.{name}" for name, kinds in home.KINDS.items() for kind in kinds.split()}
    modules = {kind: cls.__module__ for kind, cls in registry.items()}
    assert {kind: name for kind, name in modules.items() if name.startswith(f"{home.__name__}.")} == told


@pytest.mark.parametrize("name", cortex.__all__)
def test_every_name_of_the_face(name: str) -> None:
    assert getattr(cortex, name) is not None
    assert name in dir(cortex)


def test_type_checkers_see_what_is_fetched() -> None:
    """An import is seen from outside where it is `NAME as NAME`; another name needs an assignment."""
    tree = ast.parse(Path(cortex.__file__).read_text())
    block = next(x for x in tree.body if isinstance(x, ast.If) and ast.unparse(x.test) == "TYPE_CHECKING")
    seen = {}
    for statement in block.body:
        if isinstance(statement, ast.ImportFrom):
            seen |= {a.asname: (statement.module, a.name) for a in statement.names if a.asname is not None}
    assert {name: cortex._HOME_OF[name] for name in seen} == seen
    assert all(name == home[1] for name, home in seen.items())
    assert seen.keys() >= {"network", "train", "load_run", "draw", "draw_plan"}


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'nix'"):
        cortex.nix  # noqa: B018
