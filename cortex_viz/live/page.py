"""The page of a training that runs: the sections of the report, and a bar above them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from cortex_viz import charts
from cortex_viz.page import page

SECTION = "section "  # what the name of an entry begins with that is a section of the report


def live_page(version: int, entries: Mapping[str, Any]) -> str:
    """The whole page, with what the board holds: ``version`` is the number that its events go on from."""
    order = entries["order"]
    sections = (f'<section id="{escape(i)}">{entries[SECTION + i]}</section>' for i in order)
    body = [f"<style>{_text('live.css')}</style>", _bar(version, entries["bar"])]
    body.append(f'<div class="sections">{"".join(sections)}</div>')
    return page(entries["title"], body, scripts=[charts.SCRIPT, _text("live.js")], connect=True)


def _bar(version: int, bar: Mapping[str, Any]) -> str:
    off = " disabled" if bar["over"] else ""
    return (
        f'<div class="live" data-version="{version}"><p>{escape(bar["text"])}</p>'
        f'<button type="button" data-wish="checkpoint" data-waiting="After this step …"{off}>'
        "Checkpoint now</button>"
        f'<button type="button" data-wish="stop" data-waiting="After this step …"{off}>Stop</button>'
        f'<output></output><progress max="1" value="{bar["share"]:.4f}"></progress></div>'
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")
