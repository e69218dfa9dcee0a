"""What scikit-learn asks of every estimator."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from cortex import sklearn
from cortex.sklearn import CortexClassifier, CortexRegressor

ARRAY_API = "check_array_api_input"  # which asks for SCIPY_ARRAY_API=1 before SciPy is loaded
WHOLE = """
from sklearn.utils.estimator_checks import check_estimator
from cortex import sklearn
for kind in sklearn.__all__:
    found = check_estimator(getattr(sklearn, kind)(), on_skip=None, on_fail="raise")
    print(kind, len(found), {x["status"] for x in found})
"""


@pytest.mark.filterwarnings("ignore")  # the checks make their own mistakes, and look at the warnings
@pytest.mark.parametrize("kind", [CortexClassifier, CortexRegressor])
def test_every_check_of_scikit_learn(kind: Any) -> None:
    found = check_estimator(kind(), on_skip=None, on_fail=None)
    assert len(found) > 50
    assert [(x["check_name"], x["exception"]) for x in found if x["status"] in ("failed", "xfail")] == []
    assert {x["check_name"] for x in found if x["status"] != "passed"} <= {ARRAY_API}


@pytest.mark.slow
def test_every_check_with_none_left_out() -> None:
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", WHOLE], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"{'passed'}") == 2


@pytest.fixture(scope="module")
def wine() -> tuple[np.ndarray, np.ndarray]:
    return load_wine(return_X_y=True)


def test_a_cross_validation_of_a_pipeline(wine: tuple[np.ndarray, np.ndarray]) -> None:
    model = make_pipeline(StandardScaler(), CortexClassifier((30,), random_state=0))
    assert cross_val_score(model, *wine, cv=4).mean() > 0.95


def test_a_search_finds_the_rate_that_learns(wine: tuple[np.ndarray, np.ndarray]) -> None:
    model = make_pipeline(StandardScaler(), CortexClassifier((10,), random_state=0))
    grid = {"cortexclassifier__learning_rate": np.array([1e-6, 0.01]), "cortexclassifier__epochs": [20]}
    search = GridSearchCV(model, grid, cv=3).fit(*wine)
    assert search.best_params_["cortexclassifier__learning_rate"] == 0.01


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_a_search_in_threads_and_processes_finds_the_same(
    wine: tuple[np.ndarray, np.ndarray], backend: str
) -> None:
    parallel = pytest.importorskip("joblib").parallel_backend
    model = CortexClassifier((10,), epochs=3, random_state=0)
    alone = cross_val_score(model, *wine, cv=4)
    with parallel(backend):
        together = cross_val_score(model, *wine, cv=4, n_jobs=2)
    assert together.tolist() == alone.tolist()


def test_columns_keep_their_names() -> None:
    table = load_iris(as_frame=True)
    model = CortexClassifier((5,), epochs=2, random_state=0).fit(table.data, table.target)
    assert model.feature_names_in_.tolist() == list(table.data.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table.data[table.data.columns[::-1]])


def test_a_clone_is_not_fitted_and_has_the_parameters() -> None:
    description = {"inputs": {"x": "auto"}, "layers": [{"dense": 2}]}
    model = CortexClassifier(description=description, epochs=2, random_state=0)
    model.fit([[0.0], [1.0]], [0, 1])
    copy = clone(model)
    assert not hasattr(copy, "weights_")
    assert copy.get_params() == model.get_params()


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(sklearn), "CortexClassifier")
    monkeypatch.setitem(sys.modules, "sklearn.utils.validation", None)
    with pytest.raises(ImportError, match=r"1\.6 or newer: pip install 'cortex-nn\[sklearn\]'"):
        sklearn.CortexClassifier  # noqa: B018
    with pytest.raises(AttributeError, match="'Nix'"):
        sklearn.Nix  # noqa: B018
