"""The file of a part: what it found so far, whole at every moment."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
OFTEN = 1.0  # seconds between two versions of the file: a part may have thousands of entries


class Report:
    """Entries with a name and ``passed``: True, False, or None where nothing was asked.

    ``until`` is the end of the part by time.monotonic().  The file is named by the GPU, the date and the
    part; another run of that day takes its place.
    """

    def __init__(self, folder: Path, part: str, facts: dict[str, Any], until: float) -> None:
        self.facts, self.until = {"part": part, **facts}, until
        self.path = folder / f"{slug(facts['gpu'])}-{facts['date']}-{part}.json"
        self.entries: list[Entry] = []
        self.not_run: list[str] = []
        self.taken: dict[str, Counter[str]] = {}
        self._began, self._lock, self._saved = time.monotonic(), threading.RLock(), 0.0
        self.save()

    def left(self) -> float:
        """Seconds until the end."""
        return self.until - time.monotonic()

    def add(self, entry: Entry) -> None:
        """One thing that was found; failures are printed."""
        with self._lock:
            self.entries.append(entry)
            if entry["passed"] is False:
                print(f"FAILED  {entry['name']}: {told(entry)}", flush=True)
            if time.monotonic() - self._saved >= OFTEN:
                self.save()

    def count(self, label: str, taken: dict[str, int]) -> None:
        """Kernels that were built, by the way in which they were."""
        with self._lock:
            self.taken.setdefault(label, Counter()).update(taken)

    def leave_out(self, what: str) -> None:
        """Says what there was no time for, or nobody to compare with."""
        with self._lock:
            self.not_run.append(what)
            print(f"not run  {what}", flush=True)
            self.save()

    def end(self) -> int:
        """Writes the file, prints a line, and gives the exit code: 1 if something failed or was left out."""
        with self._lock:
            self.save(complete=not self.not_run)
            bad = sum(e["passed"] is False for e in self.entries)
            good = sum(e["passed"] is True for e in self.entries)
            print(f"{self.facts['part']} on {self.facts['gpu']}: {good} passed, {bad} failed, "
                  f"{len(self.not_run)} not run; {self.path.name}", flush=True)  # fmt: skip
            return int(bool(bad or self.not_run or not good))

    def save(self, complete: bool = False) -> None:
        """The file, by a rename."""
        with self._lock:
            head = {**self.facts, "complete": complete, "seconds": round(time.monotonic() - self._began, 1)}
            head |= {"taken": self.taken, "not_run": self.not_run}
            lines = ",\n".join("  " + json.dumps(e) for e in self.entries)
            text = json.dumps(head, indent=1)[:-2] + f',\n "entries": [\n{lines}\n ]\n}}\n'
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            os.replace(part, self.path)
            self._saved = time.monotonic()


def slug(name: str) -> str:
    """A GPU's name for a file: lower case, with dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def told(entry: Entry) -> str:
    """Why an entry failed, in one line."""
    number = f"{entry['value']:.4g}, expected {entry['threshold']:g}" if "threshold" in entry else ""
    return "; ".join(filter(None, (number, entry.get("detail", "").replace("\n", " ")[:300])))
