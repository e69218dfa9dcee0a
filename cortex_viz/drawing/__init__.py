"""Networks and plans as SVG."""
