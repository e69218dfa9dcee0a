"""Files of Keras where one of ours is expected."""

from __future__ import annotations

import zipfile
from pathlib import Path

IN_ARCHIVES = {"config.json", "model.weights.h5"}


def advice(path: str | Path) -> str:
    """What to say of a file that holds a model of Keras; empty for all others."""
    told = f"this is a model of Keras: cortex import keras {path} -o NAME.cortex brings it in"
    return told if _is_model(Path(path)) else ""


def _is_model(path: Path) -> bool:
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
