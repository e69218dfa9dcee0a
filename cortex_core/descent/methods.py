"""How each optimiser moves: those of descriptions, L-BFGS, and SciPy's.

A *method* walks from a point: it asks an `Objective` for what it needs, calls ``visit(x)`` after each step,
and gives the reason in words if it ends by itself.  ``visit`` ends the walk by an exception.
"""

from __future__ import annotations

import math
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from cortex_compute.errors import ArgumentError, BackendError, CortexError
from cortex_core.descent.objective import Objective
from cortex_core.optim.lbfgs import LBFGS
from cortex_core.registry import OPTIMIZERS, data_of, field, fields_of, nearest, record
from cortex_core.tensor import Tensor

Visit = Callable[[np.ndarray], None]
Walk = Callable[[Objective, np.ndarray, Visit], str]
Rate = Callable[[int], float]

LONGEST = 40
"""Characters of an option in a label."""

# By what they want beside values of f: the gradient, the Hessian too, or nothing.
FIRST = ("CG", "BFGS", "Newton-CG", "L-BFGS-B", "TNC", "SLSQP", "trust-constr")
SECOND = ("dogleg", "trust-ncg", "trust-exact", "trust-krylov")
WITHOUT = ("Nelder-Mead", "Powell", "COBYLA", "COBYQA")
SCIPY = tuple(f"scipy:{name}" for name in (*FIRST, *SECOND, *WITHOUT))

UNKNOWN = re.compile(
    r"(?:Unknown solver options: |_minimize\w+\(\) got an unexpected keyword argument ')(\w+)"
)


class UnknownOption(CortexError, TypeError):
    """An option that an optimizer does not have."""


class Method(NamedTuple):
    """A way down, with its ``label`` and whether it uses ``gradients``."""

    label: str
    walk: Walk
    gradients: bool = True


def names() -> list[str]:
    """All that `study` takes as the name of an optimizer."""
    return [*_registered(), "lbfgs", *SCIPY]


def method(optimizer: Any, options: Mapping[str, Any]) -> Method:
    """The method of a name with options, or of an optimiser of `cortex_core.optimizers`.

    Raises ArgumentError for a name, and TypeError for an option, that there is not; both say the nearest one.
    """
    if type(optimizer) in _registered().values():
        if options:
            raise UnknownOption(
                f"'{next(iter(options))}' stands beside an optimizer that has its options itself"
            )
        walk = _formula(optimizer, _rate(optimizer.learning_rate))
        return Method(_label(optimizer.kind, _chosen(optimizer)), walk)
    if not isinstance(optimizer, str):
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}, expected a name such as 'adam' or 'lbfgs'"
        )
    label = _label(optimizer, options)
    if optimizer in SCIPY:
        name = optimizer.partition(":")[2]
        return Method(label, _scipy(name, options), name not in WITHOUT)
    kinds = {**_registered(), "lbfgs": Lbfgs}
    if optimizer in kinds:
        _expect(optimizer, options, fields_of(kinds[optimizer]))
        rest = dict(options)
        by_step = rest.pop("learning_rate") if callable(options.get("learning_rate")) else None
        made = kinds[optimizer](**rest)
        rate = _rate(by_step or made.learning_rate)
        return Method(label, _lbfgs(made, rate) if optimizer == "lbfgs" else _formula(made, rate))
    meant = nearest(optimizer, names()) or f"Known are {', '.join(names())}"
    raise ArgumentError(f"there is no optimizer '{optimizer:.40}'. {meant}")


def _registered() -> Mapping[str, type[Any]]:
    from cortex_core import optimizers as optimizers

    return OPTIMIZERS


def _expect(optimizer: str, options: Iterable[str], known: Iterable[str]) -> None:
    for option in options:
        if option not in known:
            meant = nearest(option, known) or f"Expected {', '.join(known)}"
            raise UnknownOption(f"{optimizer} has no option '{option}'. {meant}")


def _chosen(optimizer: Any) -> dict[str, Any]:
    """The options in which an optimiser differs from its class."""
    known = fields_of(type(optimizer))
    return {name: value for name, value in data_of(optimizer).items() if value != known[name].default}


def _label(name: str, options: Mapping[str, Any]) -> str:
    """Such as adam(learning_rate=0.05): it tells the logs of one optimiser apart."""
    told = (f"{option}={_told(value)}" for option, value in options.items())
    return f"{name}({', '.join(told)})" if options else name


def _told(value: Any) -> str:
    """An option in one short line."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array {value.shape}"
    text = " ".join(str(getattr(value, "__name__", value)).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _rate(given: float | Callable[[int], Any]) -> Rate:
    """The learning rate by the step, counted from 1."""
    if not callable(given):
        return lambda step: given

    def rate(step: int) -> float:
        found = given(step)
        try:
            number = float(found)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < math.inf:
            raise ArgumentError(f"learning_rate({step}) gave {found!r:.40}, expected a number of 0 or more")
        return number

    return rate


def _formula(formula: Any, rate: Rate) -> Walk:
    """A description's optimiser, whose update is a formula over the numbers of x."""

    def walk(objective: Objective, x: np.ndarray, visit: Visit) -> str:
        moments = [np.zeros_like(x) for _ in formula.state]
        step = 0
        while True:
            step += 1
            now = [Tensor(a) for a in (x, objective.gradient(x), *moments)]
            x, *moments = [
                np.asarray(new) for new in formula.update(*now, **formula.scalars(step, rate(step)))
            ]
            visit(x)

    return walk


@record
class Lbfgs:
    """Options of "lbfgs": see `cortex_core.optim.LBFGS`, whose one iteration is a step here.

    The tolerances are near the end of float64, so that it is the study that says when to stop.
    """

    learning_rate: float = field(default=1.0, doc="the length, in directions, that is tried first", above=0)
    history_size: int = field(default=100, doc="steps that are remembered", minimum=1)
    line_search: Literal["strong_wolfe", "none"] = field(
        default="strong_wolfe", doc="how the length of a step is found, or none: it is the learning rate"
    )
    evaluations: int = field(
        default=25, doc="how often a line search may look at f beyond its start", minimum=1
    )
    tolerance_grad: float = field(default=1e-14, doc="ends where no gradient is larger", minimum=0)
    tolerance_change: float = field(
        default=1e-20, doc="ends where the direction falls by less, and its line search", minimum=0
    )


def _lbfgs(options: Lbfgs, rate: Rate) -> Walk:
    def walk(objective: Objective, x: np.ndarray, visit: Visit) -> str:
        p = Tensor(x.copy(), requires_grad=True)
        optimizer = LBFGS(
            [p],
            max_iter=1,
            max_eval=options.evaluations,
            tolerance_grad=options.tolerance_grad,
            tolerance_change=options.tolerance_change,
            history_size=options.history_size,
            line_search_fn=None if options.line_search == "none" else options.line_search,
        )

        def closure() -> float:
            here = p.numpy().copy()
            p.grad = Tensor(objective.gradient(here))
            return objective.value(here)

        step = 0
        while True:
            step += 1
            optimizer.param_groups[0]["lr"] = rate(step)
            with np.errstate(over="ignore"):  # a line search looks far, and turns back
                optimizer.step(closure)
            if np.array_equal(x, p.numpy()):
                if abs(objective.gradient(x)).max() <= options.tolerance_grad:
                    return f"no number of the gradient is above {options.tolerance_grad:g}"
                return "no lower point along the direction was found"
            x = p.numpy().copy()
            visit(x)

    return walk


def _scipy(name: str, options: Mapping[str, Any]) -> Walk:
    """A method of scipy.optimize.minimize; a step is what it calls back after."""
    try:
        from scipy import optimize  # type: ignore[import-untyped]
    except ImportError:
        raise BackendError(f"scipy:{name} needs SciPy: pip install 'cortex-nn[viz]'") from None

    def walk(objective: Objective, x: np.ndarray, visit: Visit) -> str:
        shape = x.shape
        derivatives: dict[str, Any] = {}
        if name not in WITHOUT:
            derivatives["jac"] = lambda z: objective.gradient(z.reshape(shape)).reshape(-1)
        if name in SECOND:
            derivatives["hess"] = lambda z: objective.hessian(z.reshape(shape))
        last = x

        def seen(z: np.ndarray, *_: Any) -> None:
            nonlocal last
            last = z.reshape(shape).copy()
            visit(last)

        with warnings.catch_warnings():
            for module in (r"scipy\.(optimize|_lib)\b", re.escape(__name__)):  # who calls it is warned, too
                warnings.filterwarnings("ignore", module=module)  # the message at the end says it
            warnings.filterwarnings("error", "Unknown solver options", optimize.OptimizeWarning)
            try:
                found = optimize.minimize(
                    lambda z: objective.value(z.reshape(shape)),
                    x.reshape(-1),
                    method=name,
                    callback=seen,
                    options=dict(options),
                    **derivatives,
                )
            except (optimize.OptimizeWarning, TypeError, ValueError, RuntimeError) as error:
                if unknown := UNKNOWN.match(str(error)):
                    raise _unknown_option(name, unknown[1]) from None
                if within(error, objective.__module__, visit.__module__):
                    raise
                if isinstance(error, RuntimeError) or not np.array_equal(last, x):
                    return f"SciPy: {error}"  # such as no bracket of a minimum along a line
                if not options:
                    raise
                told = _label(f"scipy:{name}", options)
                raise ArgumentError(f"SciPy does not take the options of {told}: {error}") from error
        if not np.array_equal(found.x, last.reshape(-1)):
            seen(found.x)
        return f"SciPy: {found.message}"

    return walk


def within(error: Exception, *modules: str) -> bool:
    """Whether an error was raised in functions of these modules, or in what they called."""
    return any(f.f_globals.get("__name__") in modules for f, _ in traceback.walk_tb(error.__traceback__))


def _unknown_option(name: str, option: str) -> UnknownOption:
    """What to say of an option that SciPy refused; its page on the method lists the known ones."""
    from scipy import optimize

    page = optimize.show_options("minimize", name.lower(), disp=False)
    known = ", ".join(re.findall(r"^ *([\w, ]+?) *: ", page, re.MULTILINE)).split(", ")
    meant = nearest(option, known) or f"scipy.optimize.show_options('minimize', '{name.lower()}') lists them"
    return UnknownOption(f"scipy:{name} has no option '{option}'. {meant}")
