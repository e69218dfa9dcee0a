"""The report of an MNIST run: how long it takes to make, how large it is, and how fast it opens in Chromium.

python -m benchmarks.run_report [--json FILE]        trains examples/lenet.yaml for an epoch first
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import machine

SPEC = Path(__file__).parents[1] / "examples" / "lenet.yaml"
BYTES, OPENS, MAKES = 3_000_000, 1.0, 10.0  # the bars, on two cores
TIMES = 5

# Seconds from the start of navigation: charts are drawn before the load event, and seen at a paint.
OPENED = """
const [page] = performance.getEntriesByType("navigation");
const paints = performance.getEntriesByType("paint").map((paint) => paint.startTime);
return Math.max(page.loadEventEnd, ...paints) / 1000;
"""


def measure(folder: Path) -> dict[str, Any]:
    """Trains a network, makes its report, and opens it several times."""
    run = folder / "lenet"
    _cortex("train", SPEC, "--out", run, "--no-report", "train.epochs=1")
    load, start = os.getloadavg()[0], time.perf_counter()
    _cortex("visualize", "report", run)
    seconds = time.perf_counter() - start
    opened = [_opened(run / "report.html", width) for width in (1280, 400) for _ in range(TIMES)]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "bytes": (run / "report.html").stat().st_size,
        "seconds_to_make": round(seconds, 2),
        "seconds_to_open": {"median": statistics.median(opened), "most": max(opened)},
        "bars": {"bytes": BYTES, "seconds_to_make": MAKES, "seconds_to_open": OPENS},
    }


def _cortex(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "cortex", *map(str, arguments)], check=True)


def _opened(page: Path, width: int) -> float:
    """Seconds until a browser that has just started shows the page."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--window-size={width},800")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get(page.resolve().as_uri())
        time.sleep(1)  # a paint is entered after it was made
        return float(browser.execute_script(OPENED))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run_report", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        found = measure(Path(folder))
    content = json.dumps(found, indent=1)
    print(content)
    if options.json:
        options.json.write_text(content + "\n", encoding="utf-8")
    large, slow = found["bytes"] > BYTES, found["seconds_to_open"]["median"] > OPENS
    sys.exit(int(large or slow or found["seconds_to_make"] > MAKES))


if __name__ == "__main__":
    main()
