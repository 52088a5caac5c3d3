"""SVG pictures that are readable without colour: lines differ in dashes and marks, areas in darkness."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from intact._base.markup.render import visible
from intact._base.packages import missing
from intact.stats.checks import Floats, library

WIDTH, HEIGHT = 4.8, 3.3
"""Size in inches; small, so that text is readable on a phone."""
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_MARKS = "os^Dv*"
_COLOURS = ("#1b4f72", "#b03a2e", "#1e8449", "#6c3483", "#9c640c", "#212f3c")


class PlotLine(NamedTuple):
    """Points with bounds, and an optional fitted law."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    fit: tuple[Floats, Floats, Floats, Floats] | None = None
    """The law's x, y, low and high."""


def _draw(name: str, paint: Callable[[Any, Any], None], height: float = HEIGHT) -> str:
    """Return a reproducible SVG drawn by matplotlib; an empty string if matplotlib is not installed.

    Characters that XML does not allow become U+FFFD.
    """
    if missing("matplotlib"):
        return ""
    mpl, kind = library("matplotlib"), library("matplotlib.figure").Figure
    style: dict[Any, Any] = {
        "svg.hashsalt": visible(name),
        "svg.fonttype": "none",
        "text.parse_math": False,  # names of files and models may hold dollar signs
        "font.family": "sans-serif",
        "font.size": 9.5,
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        # the reader's fonts draw the text; here it is only measured
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure = kind(figsize=(WIDTH, height), layout="constrained")
        paint(figure, figure.subplots())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = visible(out.getvalue())
    return text[text.index("<svg") :]


def _style(number: int) -> dict[str, Any]:
    return {
        "linestyle": _LINES[number % len(_LINES)],
        "marker": _MARKS[number % len(_MARKS)],
        "color": _COLOURS[number % len(_COLOURS)],
        "markersize": 5,
        "linewidth": 1.4,
    }


def _percent(value: float, _: object = None) -> str:
    return f"{value:.0%}"


def _finish(axes: Any, legend: Any = None) -> None:
    """Format the y axis as percentages, and add a grid and the legend of a figure, if given."""
    axes.yaxis.set_major_formatter(_percent)
    axes.grid(alpha=0.25)
    if legend is not None:
        legend.legend(loc="outside lower left", fontsize=8, frameon=False)


def curves(name: str, lines: Sequence[PlotLine], x: str, y: str, *, linear: bool = False) -> str:
    """Draw lines with a logarithmic x axis; a fitted law is a thin line without marks, inside a band.

    Parameters
    ----------
    linear : bool
        If true, the axis is linear.
    """

    def paint(figure: Any, axes: Any) -> None:
        for number, line in enumerate(lines):
            style = _style(number)
            if line.fit is not None:
                k, middle, low, high = line.fit
                axes.fill_between(k, low, high, color=style["color"], alpha=0.13, linewidth=0)
                axes.plot(k, middle, color=style["color"], linewidth=0.9, linestyle=style["linestyle"])
                style["linestyle"] = "none"
            if len(line.low):
                bounds = [np.subtract(line.y, line.low).clip(0), np.subtract(line.high, line.y).clip(0)]
                axes.errorbar(line.x, line.y, bounds, capsize=2.5, label=visible(line.name), **style)
            else:
                axes.plot(line.x, line.y, label=visible(line.name), **style)
        axes.set(xlabel=x, ylabel=y, ylim=(0, 1.02))
        if linear:
            _finish(axes, figure)
            return
        axes.set(xscale="log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
        if max(max(line.x) for line in lines) < 10 * min(min(line.x) for line in lines):  # few powers of ten, or none
            axes.xaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}")
        _finish(axes, figure)

    return _draw(name, paint, HEIGHT + 0.17 * len(lines))


def frontier(name: str, points: Mapping[str, tuple[float, float, float, float]], kept: Sequence[str]) -> str:
    """Draw accuracy against tokens with bounds (nan if there are none); frontier points are filled and connected."""

    def paint(_: Any, axes: Any) -> None:
        middle = np.log([tokens for tokens, *_ in points.values()]).mean()
        for number, (key, (tokens, accuracy, low, high)) in enumerate(points.items()):
            left = np.log(tokens) <= middle  # names lean towards the middle, alternately above and below
            offset, side = (6 if left else -6, -11 if number % 2 else 5), "left" if left else "right"
            bounds = np.clip([[accuracy - low], [high - accuracy]], 0, None)
            face = "black" if key in kept else "white"
            axes.errorbar(
                [tokens],
                [accuracy],
                bounds,
                marker="o",
                color="black",
                markerfacecolor=face,
                capsize=2.5,
                elinewidth=0.8,
            )
            axes.annotate(
                visible(key), (tokens, accuracy), xytext=offset, ha=side, textcoords="offset points", fontsize=8
            )
        best = [points[label] for label in kept]
        axes.plot([one[0] for one in best], [one[1] for one in best], color="black", linewidth=1, linestyle="--")
        axes.set(xscale="log", xlabel="tokens a problem", ylabel="accuracy")
        axes.margins(x=0.2)
        axes.set_ylim(-0.04, 1.02)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        _finish(axes)

    return _draw(name, paint)


def formats(
    name: str, points: Mapping[str, tuple[float, float, float, float]], kept: Sequence[str], slope: float
) -> str:
    """Draw a loss with bounds, on a logarithmic axis, against bits per weight; front points are named and connected.

    Parameters
    ----------
    points : mapping
        By name: bits, loss, and the bounds on the loss.
    slope : float
        The factor by which a grey reference line falls with each bit; it touches the lowest point above it.
    """

    def paint(_: Any, axes: Any) -> None:
        for label, (bits, loss, low, high) in points.items():
            own = label in kept
            bounds = np.clip([[loss - max(low, loss / 100)], [high - loss]], 0, None)
            style = {"color": "black", "markersize": 4.5} if own else {"color": "#777777", "markersize": 3}
            face = "black" if own else "white"
            axes.errorbar([bits], [loss], bounds, marker="o", markerfacecolor=face, elinewidth=0.7, **style)
        front = sorted(points[label][:2] for label in kept)
        axes.plot(*zip(*front, strict=True), color="black", linewidth=1, linestyle="--")
        aside = {"ha": "right", "textcoords": "offset points", "fontsize": 7}
        level = min(loss * slope**bits for bits, loss, *_ in points.values())
        ends = [min(bits for bits, *_ in points.values()), max(bits for bits, *_ in points.values())]
        axes.plot(ends, [level / slope**bits for bits in ends], color="#aaaaaa", linewidth=1)
        for number, label in enumerate(sorted(kept, key=lambda label: points[label])):
            # no points lie below the front
            name = label if len(label) <= 20 else f"{label[:19]}…"
            axes.annotate(name, points[label][:2], xytext=(-5, -9 - 9 * (number % 2)), **aside)
        axes.set(yscale="log", xlabel="bits a weight in memory", ylabel="KL divergence, nats")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda *_: "")
        axes.grid(alpha=0.25)
        axes.margins(x=0.3, y=0.1)

    return _draw(name, paint, 1.5 * HEIGHT)


def reliability(name: str, bins: Mapping[str, Sequence[tuple[float, float, int]]]) -> str:
    """Draw the share of right answers against confidence; larger marks stand for more problems."""

    def paint(figure: Any, axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, label="honest")
        for number, (label, points) in enumerate(bins.items()):
            style, (x, y, counts) = _style(number), zip(*points, strict=True)
            axes.plot(x, y, linestyle=style["linestyle"], color=style["color"], linewidth=1)
            sizes = [12 + 6 * count**0.5 * 2 for count in counts]
            axes.scatter(x, y, sizes, color=style["color"], marker=style["marker"], label=visible(label))
        axes.set(xlabel="confidence", ylabel="right", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.xaxis.set_major_formatter(_percent)
        _finish(axes, figure)

    return _draw(name, paint, HEIGHT + 0.17 * len(bins))


def heat(name: str, rows: Sequence[str], shares: Sequence[Sequence[float]]) -> str:
    """Draw a cell for each problem and run, darker for more right answers; the most solved problems come first."""
    grid = np.array(shares, np.float64)
    grid = grid[:, np.argsort(-grid.mean(axis=0), kind="stable")]

    def paint(_: Any, axes: Any) -> None:
        axes.pcolormesh(grid[::-1], cmap="Greys", vmin=0, vmax=1, edgecolors="#bbbbbb", linewidth=0.4)
        axes.set_yticks([i + 0.5 for i in range(len(rows))], [visible(row) for row in rows[::-1]])
        axes.set_xlabel(f"{grid.shape[1]} problems, those solved most first")
        axes.set_xticks([])

    return _draw(name, paint, 0.8 + 0.4 * len(rows))


def bounds(name: str, rows: Mapping[str, tuple[float, float, float]], x: str) -> str:
    """Draw a share or a difference of shares with its bounds for each row, from top to bottom, with a line at zero."""
    labels = list(rows)

    def paint(_: Any, axes: Any) -> None:
        for place, (mean, low, high) in enumerate(rows.values()):
            sure = low > 0 or high < 0
            spread = np.clip([[mean - low], [high - mean]], 0, None)
            face = "black" if sure else "white"
            axes.errorbar(
                [mean], [-place], xerr=spread, marker="o", color="black", markerfacecolor=face, markersize=4,
                capsize=2, elinewidth=0.8,
            )  # fmt: skip
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set_yticks([-place for place in range(len(labels))], [visible(label) for label in labels], fontsize=7.5)
        axes.set_xlabel(x)
        axes.xaxis.set_major_formatter(_percent)
        axes.grid(alpha=0.25, axis="x")

    return _draw(name, paint, 0.9 + 0.19 * len(labels))
