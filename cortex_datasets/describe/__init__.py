"""What is in a file of data: `cortex data describe`.

`describe` gives a `Report` (see report.py), which is plain data: `cortex` prints it, `cortex_viz` makes a
page of it.  The command reaches it through the entry point group ``cortex.describe``.
"""

from __future__ import annotations

from cortex_datasets.describe.file import KINDS, describe
from cortex_datasets.describe.report import Report

__all__ = ["KINDS", "Report", "describe"]
