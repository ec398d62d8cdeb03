"""The pictures of a report: whole, small, and drawn of whatever telemetry says."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from PIL import Image

from learning_pipeline.learning.report.charts import MAX_BARS, draw_charts
from learning_pipeline.learning.report.facts import DayGrowth, ReportFacts
from learning_pipeline.store.report_counts import KindCount
from learning_pipeline.store.report_days import DayMeasures
from learning_pipeline_tests.learning.event_lines import REAL_LINES
from learning_pipeline_tests.learning.report.conftest import Reported

NAMES = ["examples", "patterns_by_kind", "lag_by_stage", "success_and_latency"]
MOST_BYTES = 40_000
HOSTILE = [
    "$x^2$",
    r"$\frac{1}{$",
    "100 $",
    "問題解決",
    "\u0627\u0644\u062e\u0637\u0623",
    "\U0001f600 done",
    "a|b`c*d_e",
    "<img src=x>",
    "\u202eevil\u200b",
    "x" * 100,
    "\\N{BULLET} %s {0}",
]


@pytest.fixture
def facts(reported: Reported) -> ReportFacts:
    """Those of the real file, of which a stage has not read everything."""
    reported.learn("a.jsonl", *REAL_LINES)
    reported.write("a.jsonl", REAL_LINES[:20])
    return reported.facts()


def changed(facts: ReportFacts, part: str, **values: Any) -> ReportFacts:
    """The same with other values in a part."""
    return msgspec.structs.replace(
        facts, **{part: msgspec.structs.replace(getattr(facts, part), **values)}
    )


def assert_whole(charts: dict[str, bytes]) -> None:
    """Each is a picture that can be opened, small, and not of one colour."""
    for name, png in charts.items():
        assert len(png) < MOST_BYTES, name
        with Image.open(io.BytesIO(png)) as image:
            assert image.format == "PNG"
            assert image.width == 660
            assert 100 < image.height < 500, name
            assert len(image.convert("RGB").getcolors() or []) > 3


def of_days(facts: ReportFacts, days: list[str]) -> ReportFacts:
    """The same with examples and measurements of these days."""
    growth = [DayGrowth(day, 1, number + 1) for number, day in enumerate(days)]
    measured = [
        DayMeasures(day, 3, number % 3 / 2, number * 10.0)
        for number, day in enumerate(days)
    ]
    return changed(
        changed(facts, "examples", by_day=growth), "metrics", by_day=measured
    )


@pytest.mark.usefixtures("sqlite_url")
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
class TestCharts:
    """On one store: what is drawn does not depend on it."""

    def test_there_is_one_of_each(self, facts: ReportFacts) -> None:
        """In the order to show them in; the same facts give the same bytes."""
        charts = draw_charts(facts)
        assert list(charts) == NAMES
        assert_whole(charts)
        assert draw_charts(facts) == charts

    def test_kinds_are_drawn_as_they_are_spelled(self, facts: ReportFacts) -> None:
        """No formula is read into them, and no warning comes of a missing glyph."""
        for some in (HOSTILE[:6], HOSTILE[6:]):
            kinds = [KindCount(kind, 9 - place, 0) for place, kind in enumerate(some)]
            assert_whole(draw_charts(changed(facts, "patterns", by_kind=kinds)))

    def test_more_kinds_than_fit_share_a_bar(self, facts: ReportFacts) -> None:
        """The picture does not grow with their number."""
        kinds = [KindCount(f"kind {place}", 10, 0) for place in range(50)]
        few = changed(facts, "patterns", by_kind=kinds[:MAX_BARS], pattern_count=101)
        many = changed(facts, "patterns", by_kind=kinds, pattern_count=101)
        charts = draw_charts(many)
        assert_whole(charts)
        assert charts == draw_charts(few)

    @pytest.mark.parametrize(
        "days",
        [
            ["2026-06-01"],
            ["2026-05-31", "2026-06-01"],
            [f"2026-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 29)],
            ["0001-01-01", "9999-12-31"],
            ["0001-01-01"],
        ],
        ids=["one", "two", "many", "far apart", "first of all"],
    )
    def test_any_days_can_be_drawn(self, facts: ReportFacts, days: list[str]) -> None:
        """One alone too."""
        assert_whole(draw_charts(of_days(facts, days)))

    @pytest.mark.parametrize("threshold", [1, 40, 44, 45, 10**12])
    def test_any_threshold_can_be_drawn(
        self, facts: ReportFacts, threshold: int
    ) -> None:
        """Far below, near, reached exactly, far above."""
        assert_whole(
            draw_charts(changed(facts, "examples", training_threshold=threshold))
        )

    def test_what_nothing_is_known_of_is_not_drawn(self, facts: ReportFacts) -> None:
        """Of the measurements only what was measured."""
        unknown = [DayMeasures("2026-06-01", 3, None, None)]
        assert "success_and_latency" not in draw_charts(
            changed(facts, "metrics", by_day=unknown)
        )
        only_rates = [DayMeasures("2026-06-01", 3, 0.5, None)]
        assert_whole(draw_charts(changed(facts, "metrics", by_day=only_rates)))
        assert "patterns_by_kind" not in draw_charts(
            changed(facts, "patterns", by_kind=[])
        )
