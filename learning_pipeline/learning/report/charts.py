"""The charts of a report, as small PNG pictures.

Drawn with matplotlib's objects, without `pyplot`, whose state all threads share.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from learning_pipeline.learning.report.labels import shown_bytes, shown_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from learning_pipeline.learning.report.facts import ReportFacts

WIDTH_INCHES: Final = 6.6
DOTS_PER_INCH: Final = 100
MAX_BARS: Final = 10
MAX_BAR_LABEL_CHARS: Final = 26
MAX_TICKS: Final = 6
MEASURED_DAYS: Final = 60
COLORS: Final = 64
"""Few make a picture a fifth as large; every report keeps its own."""

BLUE, ORANGE, GREEN, GREY = "#3b6fb6", "#c8641b", "#2f855a", "#6b7280"

_FONT_FILE: Final = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_NOT_DRAWABLE: Final = "\u25a1"


def draw_charts(facts: ReportFacts) -> dict[str, bytes]:
    """Draw what there is to draw; PNG by name, in the order to show them in."""
    drawn = {
        "examples": _examples(facts),
        "patterns_by_kind": _patterns_by_kind(facts),
        "lag_by_stage": _lag_by_stage(facts),
        "success_and_latency": _success_and_latency(facts),
    }
    return {name: picture for name, picture in drawn.items() if picture is not None}


def _examples(facts: ReportFacts) -> bytes | None:
    examples = facts.examples
    if not examples.by_day:
        return None
    figure, (axes,) = _figure(2.7)
    days = [_day(each.day) for each in examples.by_day]
    totals = [each.total_count for each in examples.by_day]
    # From where the first day began, so that one day alone is a rise too.
    days.insert(0, days[0] - 1)
    totals.insert(0, totals[0] - examples.by_day[0].example_count)
    axes.fill_between(days, totals, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(days, totals, color=BLUE, linewidth=1.8, **_marked(days))
    threshold = examples.training_threshold
    axes.axhline(threshold, color=ORANGE, linewidth=1.2, linestyle="--")
    top = max(threshold, totals[-1]) * 1.18
    axes.set_ylim(0, top)
    # Each label where neither the curve nor the other one is.
    is_far_above = totals[-1] - threshold >= top * 0.12
    is_below = is_far_above and threshold > top * 0.1
    axes.annotate(
        f"training threshold {threshold:,}",
        (0.99 if is_far_above else 0.01, threshold),
        xycoords=("axes fraction", "data"),
        xytext=(0, -4 if is_below else 3),
        textcoords="offset points",
        ha="right" if is_far_above else "left",
        va="top" if is_below else "bottom",
        color=ORANGE,
        fontsize=8,
    )
    is_near = 0 < threshold - totals[-1] < top * 0.12
    axes.annotate(
        f"{totals[-1]:,}",
        (days[-1], totals[-1]),
        xytext=(-4, -6 if is_near else 5),
        textcoords="offset points",
        ha="right",
        va="top" if is_near else "bottom",
        color=BLUE,
        fontsize=9,
        fontweight="bold",
    )
    _by_day(axes, days)
    _counted(axes)
    _titled(axes, "Examples, by day of the event")
    return _png(figure)


def _patterns_by_kind(facts: ReportFacts) -> bytes | None:
    kinds = facts.patterns.by_kind
    if not kinds:
        return None
    bars = [(each.kind, each.pattern_count) for each in kinds[:MAX_BARS]]
    rest = facts.patterns.pattern_count - sum(count for _, count in bars)
    if rest > 0:
        bars.append(("(other kinds)", rest))
    return _bars("Patterns by kind", bars, BLUE, lambda count: f"{count:,.0f}")


def _lag_by_stage(facts: ReportFacts) -> bytes | None:
    stages = facts.files.stages
    bars = [
        (each.stage, each.lag_bytes) for each in stages if each.lag_bytes is not None
    ]
    if not bars or not facts.files.file_count:
        return None
    return _bars("Unread by each stage", bars, ORANGE, shown_bytes)


def _success_and_latency(facts: ReportFacts) -> bytes | None:
    measured = facts.metrics.by_day
    if measured:
        least = _day(measured[-1].day) - MEASURED_DAYS
        measured = [each for each in measured if _day(each.day) > least]
    rates = [
        (_day(each.day), 100 * each.success_rate)
        for each in measured
        if each.success_rate is not None
    ]
    seconds = [
        (_day(each.day), each.latency_ms_mean / 1000)
        for each in measured
        if each.latency_ms_mean is not None
    ]
    panels: list[tuple[str, str, list[tuple[int, float]]]] = []
    if rates:
        panels.append(("Success rate by day, %", GREEN, rates))
    if seconds:
        panels.append(("Mean latency by day, seconds", BLUE, seconds))
    if not panels:
        return None
    figure, all_axes = _figure(1.7 * len(panels) + 0.2, len(panels))
    every_day = [day for _, _, points in panels for day, _ in points]
    for axes, (title, color, points) in zip(all_axes, panels, strict=True):
        days, values = zip(*points, strict=True)
        axes.plot(days, values, color=color, linewidth=1.5, **_marked(days))
        _by_day(axes, every_day)
        _titled(axes, title)
        if points is rates:
            axes.set_ylim(0, 105)
            axes.set_yticks([0, 25, 50, 75, 100])
        else:
            axes.set_ylim(0, max(max(values) * 1.15, 1e-9))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda each, _: f"{each:,g}"))
    return _png(figure)


def _bars(
    title: str,
    bars: list[tuple[str, int]],
    color: str,
    shown: Callable[[float], str],
) -> bytes:
    rows = max(len(bars), 2)
    figure, (axes,) = _figure(0.7 + 0.27 * rows)
    places = range(len(bars))
    counts = [float(count) for _, count in bars]
    axes.barh(places, counts, color=color, height=0.62)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks(
        places,
        labels=[_drawable(shown_label(name, MAX_BAR_LABEL_CHARS)) for name, _ in bars],
        # A `$` in a name is no formula.
        parse_math=False,
        fontproperties=_font(),
    )
    most = max(counts) or 1.0
    axes.set_xlim(0, most * 1.18)
    for place, count in zip(places, counts, strict=True):
        axes.annotate(
            shown(count),
            (count, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=GREY,
        )
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _titled(axes, title)
    return _png(figure)


def _figure(height_inches: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(
        figsize=(WIDTH_INCHES, height_inches), dpi=DOTS_PER_INCH, layout="constrained"
    )
    every = list(figure.subplots(rows, 1, squeeze=False)[:, 0])
    for axes in every:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(labelsize=8, colors=GREY)
    return figure, every


def _titled(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")


def _counted(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _by_day(axes: Axes, days: list[int]) -> None:
    """Dates below the axis, so few that none overlaps another."""
    first, last = min(days), max(days)
    margin = max((last - first) * 0.02, 0.5)
    axes.set_xlim(first - margin, last + margin)
    places = sorted(set(_ticks(first, last)))
    axes.set_xticks(places, labels=[_name(place) for place in places])
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def _ticks(first: int, last: int) -> Iterator[int]:
    steps = min(MAX_TICKS - 1, last - first)
    for step in range(steps + 1):
        yield first + round(step * (last - first) / max(steps, 1))


def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def _name(ordinal: int) -> str:
    return date.fromordinal(max(ordinal, 1)).isoformat()


def _marked(days: Sequence[int]) -> dict[str, Any]:
    few = len(days) <= 31  # noqa: PLR2004 - a month of dots
    return {"marker": "o", "markersize": 3.5} if few else {}


@cache
def _font() -> FontProperties:
    return FontProperties(fname=str(_FONT_FILE), size=8)


def _drawable(text: str) -> str:
    """What the font has no picture for becomes a box, without a warning."""
    known = get_font(_FONT_FILE).get_charmap()
    return "".join(
        character if ord(character) in known else _NOT_DRAWABLE for character in text
    )


def _png(figure: Figure) -> bytes:
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(COLORS).save(small, format="PNG", optimize=True)
    return small.getvalue()
