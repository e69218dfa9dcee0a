"""Networks and plans as SVG."""

from cortex_viz.drawing.network import draw as draw
from cortex_viz.drawing.network import network_svg as network_svg
from cortex_viz.drawing.plan import draw_plan as draw_plan
from cortex_viz.drawing.plan import plan_svg as plan_svg
