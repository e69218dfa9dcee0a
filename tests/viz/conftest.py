"""Fixtures of the tests of pictures and pages."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.viz.browser")
from tests.viz.browser import browser  # noqa: E402 (after its asserts were taught to tell)

__all__ = ["browser"]
