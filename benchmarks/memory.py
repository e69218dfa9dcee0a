"""How much memory a process has taken."""

from __future__ import annotations

from pathlib import Path

KIB = 1024


def peak(status: str = "") -> int:
    """The most bytes that were a process's own, from its /proc/PID/status; default: this one's.

    Linux's figure of the program alone: that of `resource` begins with the size of who started it.
    """
    for line in (status or Path("/proc/self/status").read_text(encoding="utf-8")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    raise OSError("/proc/self/status has no VmHWM")
