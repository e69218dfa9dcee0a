"""Gradient descent that one can watch: any optimiser on any function, with every state kept.

stop = any_of(limit_gradient(1e-8), limit_steps(1000))
result = study(FUNCTIONS["rosenbrock"], "lbfgs", [-1.2, 1.0], stop)
review(result.log, every(10, print))
"""

from __future__ import annotations

from cortex_core.descent.check import Rating, check_gradient
from cortex_core.descent.functions import FUNCTIONS, TestFunction, get, named_function
from cortex_core.descent.log import Log, Moment, State, review
from cortex_core.descent.objective import Profile
from cortex_core.descent.stop import (
    all_of,
    any_of,
    every,
    limit_gradient,
    limit_params,
    limit_steps,
    limit_value,
)
from cortex_core.descent.study import Study, study

__all__ = [
    "FUNCTIONS",
    "Log",
    "Moment",
    "Profile",
    "Rating",
    "State",
    "Study",
    "TestFunction",
    "all_of",
    "any_of",
    "check_gradient",
    "every",
    "get",
    "limit_gradient",
    "limit_params",
    "limit_steps",
    "limit_value",
    "named_function",
    "review",
    "study",
]
