"""Pictures of descents: the paths of optimisers over the contour of a function, to look at and to replay.

logs = [study("rosenbrock", name, [-1.2, 1.0]).log for name in ("adam", "lbfgs")]
paths(logs, "rosenbrock.png")
Path("rosenbrock.html").write_text(page(logs), "utf-8")
"""

from __future__ import annotations

from cortex_viz.descent.page import page
from cortex_viz.descent.picture import paths
from cortex_viz.descent.scene import Scene, distance, scene

__all__ = ["Scene", "distance", "page", "paths", "scene"]
