"""Gathers, scatters, concatenation, padding and top-k."""

from __future__ import annotations
