"""`cortex.autograd`: gradients of recorded ops, the user's own ops, and the graph as an object."""

from __future__ import annotations

from cortex_core.autograd import backward as backward
from cortex_core.autograd import grad as grad
from cortex_core.eager_graph import AutogradGraph as AutogradGraph
from cortex_core.function import Function as Function
from cortex_core.gradcheck import gradcheck as gradcheck
from cortex_core.modes import detect_anomaly as detect_anomaly
from cortex_core.recompute import checkpoint as checkpoint
