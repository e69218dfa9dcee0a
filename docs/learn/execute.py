"""Runs the notebooks and writes down what they print: `python docs/learn/execute.py [NOTEBOOK.ipynb ...]`.

A notebook is its own source: edit its cells anywhere, then run this.  No Jupyter is needed, and what is
stored (no times, no paths, cells named by their place) changes only when the code or its results do.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Cortex", "language": "python", "name": "cortex"},
    "language_info": {"name": "python"},
}
RICH = {"image/svg+xml": "_repr_svg_", "text/html": "_repr_html_"}


def executed(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """The notebook with the outputs of its cells, which run in order in one namespace."""
    space: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    cells = []
    for place, cell in enumerate(notebook["cells"]):
        made = {"cell_type": cell["cell_type"], "id": f"{name}-{place:02}", "metadata": {}}
        if cell["cell_type"] == "code":
            count += 1
            outputs = run("".join(cell["source"]), space, count)
            made |= {"execution_count": count, "outputs": outputs}
        cells.append({**made, "source": lines("".join(cell["source"]))})
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def run(code: str, space: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What a cell prints, and what its last expression shows."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, result = io.StringIO(), None
    with redirect_stdout(printed):
        exec(compile(tree, f"cell {count}", "exec"), space)
        if last is not None:
            result = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), space)
    outputs = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())})
    if result is not None:
        data: dict[str, Any] = {k: lines(getattr(result, m)()) for k, m in RICH.items() if hasattr(result, m)}
        if hasattr(result, "_repr_png_"):
            data["image/png"] = base64.b64encode(result._repr_png_()).decode()
        data["text/plain"] = lines(repr(result))
        shown = {"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}
        outputs.append(shown)
    return outputs


def lines(text: str) -> list[str]:
    """Text as notebooks store it."""
    return text.strip("\n").splitlines(keepends=True)


def main() -> None:
    paths = [Path(path).resolve() for path in sys.argv[1:] or sorted(HERE.glob("*.ipynb"))]
    with TemporaryDirectory() as folder:  # for what a notebook writes
        os.chdir(folder)
        execute(paths)
        os.chdir(HERE)


def execute(paths: list[Path]) -> None:
    """Runs notebooks, and stores what they gave in them."""
    for path in paths:
        made = executed(json.loads(path.read_text(encoding="utf-8")), path.stem)
        path.write_text(
            json.dumps(made, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
