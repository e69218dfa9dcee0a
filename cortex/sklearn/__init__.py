"""`cortex.sklearn`: networks as estimators of scikit-learn, which is imported when a name is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortex.sklearn.classifier import CortexClassifier as CortexClassifier
    from cortex.sklearn.regressor import CortexRegressor as CortexRegressor

_HOMES = {"CortexClassifier": "classifier", "CortexRegressor": "regressor"}

__all__ = ["CortexClassifier", "CortexRegressor"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cortex.sklearn' has no attribute {name!r}")
    try:
        import_module("sklearn.utils.validation").validate_data  # noqa: B018 (new in 1.6, as are the tags)
    except (ImportError, AttributeError):
        needed = "scikit-learn 1.6 or newer: pip install 'cortex-nn[sklearn]'"
        raise ImportError(f"cortex.sklearn needs {needed}") from None
    value = getattr(import_module(f"cortex.sklearn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
