"""Files of other libraries where one of ours, or of a third one, is expected."""

from __future__ import annotations

import os
from pathlib import Path

IN_ARCHIVES = {"config.json", "model.weights.h5"}
ENDINGS = {".onnx": "onnx", ".safetensors": "safetensors"}
"""Of files whose bytes do not begin with what they are, and the command that reads them."""


def advice(path: str | os.PathLike[str], but: str = "") -> str:
    """What to say of a file that ``cortex import`` reads, by another command than ``but``; else nothing."""
    if but != "keras" and _is_of_keras(Path(path)):
        return f"this is a model of Keras: cortex import keras {path} -o NAME.cortex brings it in"
    kind = ENDINGS.get(Path(path).suffix.lower(), but)
    if kind != but:
        return f"by its name this is of {kind}: cortex import {kind} {path} -o NAME.cortex brings it in"
    return ""


def _is_of_keras(path: Path) -> bool:
    import zipfile

    import h5py

    try:
        if not path.is_file():
            return False
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return "model_config" in file.attrs
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= IN_ARCHIVES
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, NotImplementedError):
        return False  # whatever it is, it is not for the import as it is
