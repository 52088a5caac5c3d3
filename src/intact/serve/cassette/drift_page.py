"""The result of a measurement of drift as one HTML page."""

from __future__ import annotations

from intact._base.markup.render import environment
from intact.serve.cassette.drift import DriftReport


def drift_page(report: DriftReport, name: str) -> str:
    """Return a page with the share of changed answers as a picture, and each change.

    Parameters
    ----------
    report : DriftReport
    name : str
        The cassette's name.
    """
    low, high = report.interval
    share = len(report.changed) / report.compared if report.compared else 0.0
    template = environment("intact.serve", "cassette").get_template("drift.html.j2")
    return template.render(report=report, name=name, low=low, high=high, share=share)
