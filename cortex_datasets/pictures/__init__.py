"""Pictures and arrays as data: the readers ``images`` and ``arrays``."""

from __future__ import annotations

from cortex_datasets.pictures.arrays import Arrays
from cortex_datasets.pictures.images import Images

__all__ = ["Arrays", "Images"]
