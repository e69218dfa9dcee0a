"""`cortex visualize tsne` of a hidden layer for the 10,000 test digits: how long it takes, and how far its
picture is to be trusted.

python -m benchmarks.tsne [--json FILE] [--svg FILE]        trains examples/mlp.yaml first, some ten seconds
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import machine

SPEC = Path(__file__).parents[1] / "examples" / "mlp.yaml"
LAYER = "dense_2"
SECONDS, TRUST = 60.0, 0.97  # the bars, on two cores
WIDTH, MARGIN = 1000, 16  # units of the drawing


def measure(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains a network, runs the command, and gives what was measured and the chart of its page."""
    run, out, found = folder / "mlp", folder / "map", folder / "found.json"
    _cortex("train", SPEC, "--out", run, "--no-report")
    load, start = os.getloadavg()[0], time.perf_counter()
    _cortex("visualize", "tsne", run, "--layer", LAYER, "--out", out, "--json", found)
    seconds = time.perf_counter() - start
    (chart,) = re.findall(
        r'<script type="application/json">(.*?)</script>', out.with_suffix(".html").read_text("utf-8"), re.S
    )
    told = json.loads(found.read_text("utf-8"))
    made = json.loads(chart)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
        "method": told["method"],
        "examples": told["examples"],
        "numbers": told["width"],
        "seconds": {**told["seconds"], "command": seconds},
        "trustworthiness": told["trustworthiness"],
        "trustworthiness_by_scikit_learn": _reference(run, np.array(made["points"])),
        "page_bytes": out.with_suffix(".html").stat().st_size,
        "bars": {"command_seconds": SECONDS, "trustworthiness": TRUST},
    }, made


def _cortex(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "cortex", *map(str, arguments)], check=True)


def _reference(run: Path, points: np.ndarray) -> float:
    from sklearn.manifold import trustworthiness  # type: ignore[import-untyped]

    import cortex
    from cortex_core.probe import activations
    from cortex_core.training.data import part_of

    network = cortex.load(run / "model.cortex")
    source, _ = part_of(network, None, "test")
    return float(trustworthiness(activations(network, source, [LAYER])[LAYER], points, n_neighbors=5))


def draw(chart: dict[str, Any], path: Path) -> None:
    """An SVG of the points, in whole units: a path for each class, and its name at the median."""
    from cortex_viz.figure import COLOURS

    points, groups = np.array(chart["points"]), np.array(chart["groups"])
    if np.ptp(points[:, 1]) > np.ptp(points[:, 0]):  # all directions are alike
        points = points[:, ::-1]
    low = points.min(axis=0)
    scale = (WIDTH - 2 * MARGIN) / np.ptp(points[:, 0])
    places = np.rint((points - low) * scale).astype(int) + MARGIN
    height = int(places[:, 1].max()) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        f"<title>{len(points):,} handwritten digits, laid out by t-SNE of a hidden layer</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<g fill="none" stroke-width="4" stroke-linecap="round" stroke-opacity=".65">',
        *(f'<path stroke="{COLOURS[g]}" d="{_dots(places[groups == g])}"/>' for g in np.unique(groups)),
        '</g>\n<g font-family="sans-serif" font-size="30" font-weight="bold" text-anchor="middle" '
        'fill="#222" stroke="#fff" stroke-width="7" stroke-linejoin="round" paint-order="stroke">',
    ]
    for g in np.unique(groups):
        x, y = np.median(places[groups == g], axis=0)
        parts.append(f'<text x="{x:.0f}" y="{y + 11:.0f}">{chart["names"][g]}</text>')
    path.write_text("\n".join([*parts, "</g>\n</svg>\n"]), encoding="utf-8")


def _dots(places: np.ndarray) -> str:
    """Lines of no length, each reached from the one before; near ones follow each other, which is shorter."""
    ordered = places[np.lexsort((places[:, 1], places[:, 0] // 20))]
    steps = np.diff(ordered, axis=0, prepend=0)
    return "".join(f"m{x}{y:+d}h0" for x, y in steps.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tsne", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        found, chart = measure(Path(folder))
    content = json.dumps(found, indent=1)
    print(content)
    if options.json:
        options.json.write_text(content + "\n", encoding="utf-8")
    if options.svg:
        draw(chart, options.svg)
    missed = found["seconds"]["command"] > SECONDS or found["trustworthiness_by_scikit_learn"] < TRUST
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
