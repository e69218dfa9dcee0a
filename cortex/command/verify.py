"""``cortex verify``: the suites that ship with the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import (
    backend_option,
    json_option,
    people,
    precision_option,
    spec_argument,
    write_json,
)

if TYPE_CHECKING:
    from cortex_compute.verify.result import Result
    from cortex_core.verify.same import Comparison

ERRORS = "error / allowed"  # the metric of suites with so many cases that only failures are shown
only_option = click.option("--only", metavar="NAME", help="Only the cases whose name contains this.")


@click.group("verify", subcommand_metavar="SUITE")
def command() -> None:
    """Run a verification suite: exit code 0 if all of it holds, 1 if not.

    \b
    Examples:
      cortex verify backend --only Conv
      cortex verify mnist --json mnist.json
      cortex verify same examples/lenet.yaml --backends numpy,onednn
    """


def _suite(name: str, doc: str) -> Callable[[Callable[..., Any]], Any]:
    """Registers a function (backend's name, only) -> results as a suite with the common options."""

    def decorate(function: Callable[[str, str | None], Iterable[Result]]) -> click.Command:
        def run(backend: str, only: str | None, json_file: str | None) -> None:
            verify(name, backend, only, function(backend, only), json_file)

        decorated = backend_option(only_option(json_option(run)))
        text = f"{doc}\n\n\b\nExample:\n  cortex verify {name}"
        made: click.Command = command.command(name, help=text, short_help=doc)(decorated)
        return made

    return decorate


@_suite("backend", "Every primitive against float64 references, over data types and edge shapes.")
def _backend(backend: str, only: str | None) -> Iterable[Result]:
    from cortex_compute.backends import get
    from cortex_compute.verify.run import run

    return run(get(backend), only)


@_suite("gradients", "Every layer, loss and pointwise function against central differences.")
def _gradients(backend: str, only: str | None) -> Iterable[Result]:
    from cortex_compute.backends import get
    from cortex_core.verify.gradients import run

    return run(get(backend), only)


@command.command("mnist")
@backend_option
@precision_option
@only_option
@json_option
def _mnist(backend: str, precision: str | None, only: str | None, json_file: str | None) -> None:
    """Eight networks on the 10,000 test images of MNIST; up to 20 minutes on two cores.

    \b
    Example:
      cortex verify mnist --precision bf16
    """
    from cortex_core.verify.trained import mnist

    verify("mnist", backend, only, mnist(backend, only, precision), json_file)


@_suite("examples", "Every description in examples/ reaches what its second line states.")
def _examples(backend: str, only: str | None) -> Iterable[Result]:
    from cortex_core.verify.trained import examples

    return examples(backend, only)


@command.command("same")
@spec_argument
@click.option("--backends", required=True, metavar="A,B", help="The two to compare.")
@precision_option
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Of training, to compare the losses.",
)
@json_option
def _same(spec: str, backends: str, precision: str | None, steps: int, json_file: str | None) -> None:
    """Whether two backends compute a network alike: losses, every layer's output, every gradient.

    The description's own data is used where it is on this machine, else a made-up batch.  The last line
    names the first layer that departs.

    \b
    Examples:
      cortex verify same examples/lenet.yaml --backends numpy,onednn
      cortex verify same examples/lenet.yaml --backends numpy,cupy --precision bf16
    """
    from cortex_compute.backends import get
    from cortex_core.summary import align
    from cortex_core.verify.same import same

    names = [part.strip() for part in backends.split(",")]
    if len(names) != 2 or not all(names):
        raise click.BadParameter(
            f"{backends!r}: expected two names, as in numpy,onednn", param_hint="--backends"
        )
    first, second = map(get, names)
    if first is second:
        raise click.BadParameter(f"{backends!r}: both are {first.name}", param_hint="--backends")
    found = same(spec, first, second, precision, steps)
    departs = found.departure
    told = {"suite": "same", "backend": f"{first.name},{second.name}", "precision": found.precision}
    write_json(
        json_file,
        told
        | {"data": found.data, "departs": departs.name if departs is not None else None}
        | {"cases": [r.json() for r in found.results]},
    )
    said = people(json_file)
    print(f"{first.name} and {second.name}, {found.precision}, {found.data}\n", file=said)
    rows = [_row(r) for r in found.results]
    for line in align([("", "difference", "allowed", ""), *rows], right=(1, 2)):
        print(line, file=said)
    print(f"\n{_last_line(found)}", file=said)
    if departs is not None:
        raise click.exceptions.Exit(1)


def _row(r: Result) -> tuple[str, str, str, str]:
    return r.name, f"{r.value:.2g}", f"{r.threshold:.2g}", "ok" if r.passed else "DEPARTS"


def _last_line(found: Comparison) -> str:
    departs, good = found.departure, sum(r.passed for r in found.results)
    if departs is None:
        lacks = (
            "" if any(r.name.startswith("loss/") for r in found.results) else "; without a loss no gradient"
        )
        return f"all {good} agree{lacks}"
    first = departs.detail or departs.name
    return f"{len(found.results) - good} of {len(found.results)} depart; the first is {first}"


def verify(
    suite: str, backend: str, only: str | None, results: Iterable[Result], json_file: str | None
) -> None:
    """Reports the results of a suite; where there are none, the name that was asked for is wrong."""
    rest = iter(results)
    first = next(rest, None)
    if first is None:
        raise click.BadParameter(f"no case of {suite} has {only!r} in its name", param_hint="--only")
    report(suite, backend, chain([first], rest), json_file)


def report(suite: str, backend: str, results: Iterable[Result], json_file: str | None) -> None:
    """Shows failures as they come and a summary; ends with exit code 1 where something failed."""
    from cortex_compute.backends import get

    said = people(json_file)
    found: list[Result] = []
    for result in results:
        found.append(result)
        if not result.passed or result.metric != ERRORS:
            print(_line(result), file=said, flush=True)
    name = get(backend).name
    write_json(json_file, {"suite": suite, "backend": name, "cases": [r.json() for r in found]})
    good = sum(r.passed for r in found)
    seconds = sum(r.seconds for r in found)
    print(f"{suite} on {name}: {good} of {len(found)} passed, {seconds:.1f} s{_worst(found)}", file=said)
    if good < len(found) or not found:
        raise click.exceptions.Exit(1)


def _line(result: Result) -> str:
    sign = ">=" if result.better == "higher" else "<="
    detail = f"  ({result.detail})" if result.detail else ""
    verdict = "passed" if result.passed else "FAILED"
    numbers = f"{result.metric} {result.value:.4g}, expected {sign} {result.threshold:g}"
    return f"{verdict}  {result.name}: {numbers}, {result.seconds:.1f} s{detail}"


def _worst(found: list[Result]) -> str:
    """How close the errors come to what is allowed, where all hold."""
    errors = [r for r in found if r.metric == ERRORS] if all(r.passed for r in found) else []
    if not errors:
        return ""
    worst = max(errors, key=lambda r: r.value)
    return f", the largest error is {worst.value:.2g} of what is allowed ({worst.name})"
