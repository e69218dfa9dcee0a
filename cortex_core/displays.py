"""What notebooks show of a tensor, a network and a run: small tables in HTML.

A display computes nothing, however large the thing, and raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

EDGE = 4  # rows and columns at each end of what is cut in the middle
CUT = "…"


def tensor_html(x: Any) -> str:
    """Type, history, and the numbers, of which long axes are cut in the middle."""
    facts = [f"Tensor {x.type}"]
    if x.node is not None:
        facts.append(f"made by {x.operation}")
    elif x.requires_grad:
        facts.append("requires gradient")
    if x.is_sparse:
        return paragraph([*facts, "holds some rows only"])
    array = x._data
    if array is None:
        return paragraph([*facts, "its numbers were given back by backward"])
    if array.size == 0:
        return paragraph(facts)
    if array.ndim > 2:
        facts.append(f"here [{'0, ' * (array.ndim - 2)}:, :]")
    array = array[(0,) * (array.ndim - 2)]
    rows = array.reshape(1, -1) if array.ndim < 2 else array
    columns = _places(rows.shape[1])
    return paragraph(facts) + table(
        [CUT if i is None or j is None else _text(rows[i, j].item()) for j in columns]
        for i in _places(rows.shape[0])
    )


def run_html(run: Any) -> str:
    """The history, one row per epoch, and where the run lies."""
    columns = run.history.columns
    body = [
        [CUT if i is None else _text(run.history.rows[i].get(column, "")) for column in columns]
        for i in _places(len(run.history))
    ]
    facts = [f"Run {run.network.name}", f"epochs: {len(run.history)}", f"in {run.path}"]
    return paragraph(facts) + (table(body, columns) if body else "")


def _places(n: int) -> list[int | None]:
    """0 to n - 1; where these are many, None stands for those in the middle."""
    if n <= 2 * EDGE + 1:
        return list(range(n))
    return [*range(EDGE), None, *range(n - EDGE, n)]


def _text(x: Any) -> str:
    return f"{x:.4g}" if isinstance(x, float) else str(x)


def paragraph(facts: Sequence[str]) -> str:
    """What is to be said, in one line."""
    return f"<div>{escape('; '.join(facts))}</div>"


def table(body: Iterable[Sequence[str]], head: Sequence[str] = (), right: Sequence[int] | None = None) -> str:
    """Rows of text; ``right``: the columns that stand flush right, all of them where it is None."""
    side = ["right" if right is None or i in right else "left" for i in range(len(head))]

    def row(cells: Sequence[str], tag: str) -> str:
        sides = side or ["right"] * len(cells)
        inside = (f'<{tag} style="text-align: {s}">{escape(c)}</{tag}>' for s, c in zip(sides, cells))
        return f"<tr>{''.join(inside)}</tr>"

    top = f"<thead>{row(head, 'th')}</thead>" if head else ""
    return f"<table>{top}<tbody>{''.join(row(cells, 'td') for cells in body)}</tbody></table>"
