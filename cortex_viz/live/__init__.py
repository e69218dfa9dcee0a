"""The report of a training while it runs: `Live` serves it to browsers on this machine."""

from __future__ import annotations

from cortex_viz.live.training import Live

__all__ = ["Live"]
