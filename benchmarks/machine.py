"""What a figure belongs to: the machine, the versions, the date, and how busy it was."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

VERSIONS = """
import json
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in ("torch", "jax", "numpy"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def facts(backend: str, peers_python: str) -> dict[str, Any]:
    """Of this run, for its JSON."""
    import numpy

    import cortex
    from cortex_compute.backends import get

    made = get(backend)
    done = subprocess.run([peers_python, "-c", VERSIONS], capture_output=True, text=True, check=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg(),
        "python": platform.python_version(),
        "cortex": cortex.__version__,
        "numpy": numpy.__version__,
        "backend": made.name,
        "backend_facts": {
            k: Path(v).name if Path(v).is_absolute() else v for k, v in made.describe().items()
        },
        "peers": json.loads(done.stdout),
    }


def processor() -> str:
    """Its name, and which of the instructions that matter here it has."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
    found = {k.strip(): v.strip() for k, _, v in reversed(lines)}
    flags = found.get("flags", "").split()
    wanted = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    return f"{found.get('model name', platform.machine())} ({', '.join(wanted) or 'no AVX2'})"


def line(facts: dict[str, Any], threads: int) -> str:
    """The facts for people."""
    peers = facts["peers"]
    installed = [f"{label} {peers[k]}" for k, label in (("torch", "PyTorch"), ("jax", "JAX")) if k in peers]
    return (
        f"{facts['date']}, {facts['processor']}, {facts['cores']} cores, {threads} threads, "
        f"load {facts['load_before'][0]:.1f} before the run; "
        f"Cortex {facts['cortex']} on {facts['backend']}, NumPy {facts['numpy']}; "
        f"{', '.join(installed) or 'no peer is installed'}"
    )
