"""Pictures of descents: the paths of optimisers over the contour of a function, to look at and to replay.

f = FUNCTIONS["rosenbrock"]
logs = [study(f, name, [-1.2, 1.0], limit_steps(100)).log for name in ("adam", "lbfgs")]
drawn = scene(logs)
paths(drawn, "rosenbrock.png")
Path("rosenbrock.html").write_text(page(drawn), "utf-8")
"""

from __future__ import annotations

from cortex_viz.descent.page import page
from cortex_viz.descent.picture import paths
from cortex_viz.descent.scene import Scene, distance, point, scene

__all__ = ["Scene", "distance", "page", "paths", "point", "scene"]
