"""Random numbers, drawn from NumPy's Philox."""

from __future__ import annotations
