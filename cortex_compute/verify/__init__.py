"""The conformance kit: every primitive, over data types and edge shapes, against float64 references.

The references import nothing of a backend.  A primitive without reference or cases fails the suite.
"""

from __future__ import annotations

from cortex_compute.verify.result import Result, summary
from cortex_compute.verify.run import run

__all__ = ["Result", "run", "summary"]
