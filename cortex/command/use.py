"""``--use FILE.py``: the user's own layers, losses and data."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

from cortex_compute.errors import CortexError, SpecError


def run_file(path: str) -> None:
    """Runs a Python file that the user has named, once, as the module of its name.

    Its decorators (`cortex.layer`, `cortex.loss`, ...) register what it defines.  An error in it is a
    `SpecError` with file and line.
    """
    file = Path(path)
    name = f"cortex_use_{file.stem}"
    if not file.is_file():
        raise SpecError(f"--use {path}: there is no such file")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SpecError(f"--use {path}: expected a Python file, NAME.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        kind = "" if isinstance(error, CortexError) else f"{type(error).__name__}: "
        raise SpecError(f"{_where(error, path)}: {kind}{error}") from error


def _where(error: Exception, path: str) -> str:
    """FILE:LINE of the last line of the user's file that was reached."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    lines = [
        f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(Path(path).name)
    ]
    return f"{path}:{lines[-1]}" if lines else path
