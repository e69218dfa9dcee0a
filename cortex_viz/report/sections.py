"""The sections of a report, in order, and the page that they make."""

from __future__ import annotations

from cortex_viz import charts
from cortex_viz.page import page
from cortex_viz.report import classes, examples, training
from cortex_viz.report.facts import Facts, Section, lacking

SECTIONS: dict[str, tuple[str, Section]] = {
    "overview": ("Result", training.overview),
    "description": ("Description", training.description),
    "curves": ("Curves", training.curves),
    "confusion": ("Confusion", classes.confusion),
    "classes": ("Classes", classes.table),
    "numbers": ("Predicted and actual", examples.numbers),
    "examples": ("Examples", examples.examples),
    "roc": ("ROC: each class against the others", classes.roc),
    "calibration": ("Calibration", classes.calibration),
    "hidden": ("Last hidden layer", examples.hidden),
    "time": ("Time and memory", training.time),
    "data": ("Data", training.data),
    "environment": ("Environment", training.environment),
    "command": ("To repeat it", training.command),
    "history": ("History", training.history),
}


def sections(facts: Facts) -> dict[str, str]:
    """The HTML of each section that applies, by id, in order.

    Each stands by itself, pictures included.  What is missing is told in the section that lacks it.
    """
    made = {}
    for name, (title, draw) in SECTIONS.items():
        body, why = draw(facts), facts.missing.get(name)
        if body or why:
            made[name] = f"<h2>{title}</h2>\n{body}{lacking(why) if why else ''}"
    return made


def page_of(facts: Facts) -> str:
    """The whole report as one page, which fetches nothing."""
    body = [f'<section id="{name}">{html}</section>' for name, html in sections(facts).items()]
    return page(facts.name, body, scripts=[charts.SCRIPT])
