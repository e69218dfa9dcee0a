"""``cortex descend``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from cortex.command.common import json_option, needs_viz, out_option, people, say, write_json
from cortex_compute.errors import ArgumentError, CortexError

if TYPE_CHECKING:
    import numpy as np

    from cortex_core.descent import Study, TestFunction
    from cortex_core.descent.stop import Rule
    from cortex_viz.descent import Scene

CONVERGED = 1e-8  # the norm of the gradient at which a descent has arrived
DEFAULT = "adam", "lbfgs"
# Where descents start: as the literature has it; elsewhere at shares of the domain that lie on no axis of
# symmetry.  More coordinates repeat the two.
STARTS = {"rosenbrock": (-1.2, 1.0), "easom": (2.0, 2.5)}  # easom is flat but for its hole
ELSEWHERE = (0.65, 0.25)


@click.command("descend")
@click.argument("function", metavar="[FUNCTION]", required=False)
@click.option(
    "--optimizer",
    "optimizers",
    multiple=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help="Whose path to draw; may be given several times. adam and lbfgs by default.",
)
@click.option("--from", "start", metavar="X,Y,...", help="Where they start.")
@click.option("--steps", default=200, type=click.IntRange(min=1), help="At most, for each (200).")
@click.option("--dimensions", type=click.IntRange(min=1), help="2 by default, or as many as --from has.")
@click.option("--seed", type=click.IntRange(min=0), help="Starts at a random place of the domain.")
@click.option("--axes", metavar="I,J", help="The coordinates to draw, counted from 1 (1,2).")
@click.option("--whole", is_flag=True, help="Shows the whole domain, where paths need less of it, too.")
@out_option(".png", metavar="FILE.png", help="The picture; FILE.html is written beside it (FUNCTION.png).")
@click.option("--list", "listing", is_flag=True, help="Lists functions and optimizers.")
@json_option
def command(
    function: str | None,
    optimizers: tuple[str, ...],
    start: str | None,
    steps: int,
    dimensions: int | None,
    seed: int | None,
    axes: str | None,
    whole: bool,
    out: str | None,
    listing: bool,
    json_file: str | None,
) -> None:
    """Watch optimisers descend a function of the literature.

    Writes a picture of their paths on the contour, and a page that replays them side by side. A path ends
    where the gradient's norm is below 1e-8, after --steps, or where its optimizer sees no way on.

    \b
    Examples:
      cortex descend rosenbrock --optimizer adam:learning_rate=0.05 --optimizer lbfgs
      cortex descend himmelblau --optimizer sgd --optimizer scipy:BFGS --from 0,-1 --steps 50
      cortex descend --list
    """
    if listing or function is None:
        if not listing:
            raise ArgumentError("which function? `cortex descend --list` names them")
        return _list(json_file)
    from cortex_core.descent import any_of, get, limit_gradient, limit_steps, study
    from cortex_core.descent.methods import method
    from cortex_viz.descent import point, scene

    place = _numbers("--from", start)
    n = dimensions or len(place or ()) or get(function).dimensions or 2
    chosen = get(function, n)
    x0 = _start(chosen, n, place, seed)
    shown = _axes(axes, n)
    wanted = [_optimizer(written) for written in optimizers or DEFAULT]
    for name, options in wanted:
        method(name, options)  # refuses the last one, too, before the first one runs
    text = people(json_file)
    say(f"{function} of {n} coordinates from {point(x0)}{_outside(chosen, n, x0)}", text)
    last_step = limit_steps(steps)
    stop = any_of(limit_gradient(CONVERGED), last_step)
    studies: list[Study] = []
    for name, options in wanted:
        with _told(function):
            studies.append(study(chosen, name, x0, stop, **options))
        if studies[-1].log.interrupted:
            break
    rows = [_row(s, chosen, n) for s in studies]
    _tell(rows, text)
    _hint(studies, last_step, text)
    if not any(math.isfinite(s.best.value) for s in studies):
        raise ArgumentError(f"nothing finite to draw: {function} has no finite value at {point(x0)}")
    files = _draw(scene([s.log for s in studies], chosen, shown, whole), Path(out or f"{function}.png"))
    said = {"function": function, "dimensions": n, "from": x0.tolist(), "optimizers": rows, "files": files}
    write_json(json_file, said)
    for file in files:
        say(file, text)
    if studies[-1].log.interrupted:
        raise KeyboardInterrupt(studies[-1].stopped)


@contextmanager
def _told(function: str) -> Iterator[None]:
    """Ends the command where a function of one's own raises, with what it said."""
    try:
        yield
    except CortexError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{function} raised {type(error).__name__}: {error}. It gets a Tensor (..., n) and gives "
            "(...): write it with the ops of cortex, as cortex.exp(x).sum(-1)"
        ) from error


def _list(json_file: str | None) -> None:
    from cortex_core.descent import FUNCTIONS
    from cortex_core.descent.methods import names

    rows = [_listed(f) for f in FUNCTIONS.values()]
    write_json(json_file, {"functions": rows, "optimizers": names()})
    text = people(json_file)
    say("Functions (dimensions, domain, least value):", text)
    wide = max(len(row["name"]) for row in rows)
    for row in rows:
        what = f"{row['name']:<{wide}}  {row['dimensions']:<9}  {row['domain']:<27}"
        say(f"  {what}  {'unknown' if row['minimum'] is None else format(row['minimum'], '.6g')}", text)
    say("Optimizers:", text)
    for name in names():
        say(f"  {name}", text)


def _listed(f: TestFunction) -> dict[str, Any]:
    n = f.dimensions or max(2, f.fewest)
    sides = dict.fromkeys(f"{low:.5g} to {high:.5g}" for low, high in f.domain(n))
    many = str(f.dimensions or (f"{f.fewest} to {f.most}" if f.most else f"{f.fewest} or more"))
    told = {"name": f.name, "dimensions": many, "domain": ", ".join(sides), "minimum": f.minimum(n)}
    return told | {"formula": f.doc, "source": f.source}


def _numbers(option: str, written: str | None) -> list[float] | None:
    if written is None:
        return None
    try:
        found = [float(part) for part in written.split(",")]
    except ValueError:
        raise ArgumentError(f"{option} {written}: expected numbers with commas between, as -1.2,1") from None
    if not all(map(math.isfinite, found)):
        raise ArgumentError(f"{option} {written}: expected finite numbers")
    return found


def _start(f: TestFunction, n: int, place: list[float] | None, seed: int | None) -> np.ndarray:
    import numpy as np

    if place is not None and seed is not None:
        raise ArgumentError("--from says where, --seed says at random: give one of the two")
    if place is not None:
        if len(place) != n:
            raise ArgumentError(f"--from has {len(place)} numbers, expected {n} for {n} dimensions")
        return np.array(place)
    low, high = f.domain(n).T
    if seed is not None:
        return np.asarray(np.random.default_rng(seed).uniform(low, high))
    if f.name in STARTS:
        return np.resize(STARTS[f.name], n)
    return np.asarray(low + np.resize(ELSEWHERE, n) * (high - low))


def _outside(f: TestFunction, n: int, x0: np.ndarray) -> str:
    low, high = f.domain(n).T
    return "" if ((low <= x0) & (x0 <= high)).all() else ", outside of its usual domain"


def _axes(written: str | None, n: int) -> tuple[int, int]:
    if n < 2:
        raise ArgumentError("a path is drawn over two coordinates: --dimensions 2 or more")
    found = _numbers("--axes", written or "1,2") or []
    if len(set(found)) != 2 or len(found) != 2 or not all(i in range(1, n + 1) for i in found):
        raise ArgumentError(f"--axes {written}: expected two different coordinates of 1 to {n}, as 1,2")
    return int(found[0]) - 1, int(found[1]) - 1


def _optimizer(written: str) -> tuple[str, dict[str, Any]]:
    """``adam:learning_rate=0.05,beta1=0.8`` and ``scipy:BFGS:gtol=1e-9`` as a name and options."""
    family, _, rest = written.partition(":")
    if family == "scipy":
        method, _, rest = rest.partition(":")
        family = f"scipy:{method}"
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ArgumentError(f"--optimizer {written}: '{part}' is no OPTION=VALUE, as learning_rate=0.05")
        if key.strip() in options:
            raise ArgumentError(f"--optimizer {written}: {key.strip()} is given twice")
        options[key.strip()] = _value(value.strip())
    return family, options


def _value(written: str) -> Any:
    """A whole number, a number, true or false, else the word."""
    for kind in (int, float):
        try:
            return kind(written)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(written, written)


def _row(found: Study, f: TestFunction, n: int) -> dict[str, Any]:
    from cortex_viz.descent import distance

    return {
        "optimizer": found.log.optimizer,
        "steps": found.log[-1].step,
        "f_calls": found.profile.f_calls,
        "gradient_calls": found.profile.gradient_calls,
        "seconds": found.profile.seconds,
        "value": found.value,
        "gradient_norm": found.log[-1].norm,
        "distance": distance(found.x, f.minima(n)),
        "x": found.x.tolist(),
        "stopped": found.stopped,
        "values": found.log.values.tolist(),
        "gradient_norms": found.log.norms.tolist(),
        "xs": found.log.xs.tolist(),
    }


COLUMNS = {  # of the table: how a number is written, and what it is called
    "optimizer": ("", "optimizer"),
    "steps": ("d", "steps"),
    "f_calls": ("d", "f"),
    "gradient_calls": ("d", "gradients"),
    "seconds": (".3f", "seconds"),
    "value": (".6g", "value"),
    "gradient_norm": (".3g", "gradient norm"),
    "distance": (".3g", "distance"),
    "stopped": ("", "stopped"),
}


def _tell(rows: Sequence[dict[str, Any]], file: IO[str]) -> None:
    """One line for each descent, in columns."""
    cells = [[title for _, title in COLUMNS.values()]]
    for row in rows:
        cells.append(["–" if row[k] is None else format(row[k], spec) for k, (spec, _) in COLUMNS.items()])
    wide = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        first, *numbers, last = line
        middle = "  ".join(f"{cell:>{w}}" for cell, w in zip(numbers, wide[1:-1]))
        say(f"{first:<{wide[0]}}  {middle}  {last}", file)


def _hint(studies: Sequence[Study], last_step: Rule, file: IO[str]) -> None:
    """Says what may help those that the limit of steps stopped, and those that did not move."""
    if going := [s.log.optimizer for s in studies if s.stopped == last_step(s.log[-1], s.log)]:
        hint = "more --steps, or a larger learning_rate, may lead on"
        say(f"Still on its way: {', '.join(going)}: {hint}", file)
    if still := [s.log.optimizer for s in studies if len(s.log) == 1 and not s.log.interrupted]:
        say(f"Made no step: {', '.join(still)}: another --from may lead on", file)


def _draw(drawn: Scene, picture: Path) -> list[str]:
    """Writes the page, and the picture where matplotlib is installed; gives the names of the files."""
    from cortex_core.training.files import write_atomically
    from cortex_viz.descent import page, paths

    html = picture.with_suffix(".html")
    write_atomically(html, page(drawn).encode())
    try:
        with needs_viz():
            paths(drawn, picture)
    except click.ClickException as missing:
        say(f"no PNG: {missing.message}", sys.stderr)
        return [str(html)]
    return [str(picture), str(html)]
