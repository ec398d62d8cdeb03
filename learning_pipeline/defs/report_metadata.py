"""The facts of a report as Dagster shows them: numbers, tables, pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

import dagster as dg
import msgspec

from learning_pipeline.defs.report_tables import report_tables
from learning_pipeline.learning.report.facts import ReportFacts
from learning_pipeline.learning.report.wording import headline

_ESCAPED = re.compile(r"([!-/:-@\[-`{-~])")
_BACKSLASHED = r"\\\1"
"""Markdown takes punctuation behind a backslash for what it is."""

MARK = "state_mark"
EXAMPLE_COUNT = "example_count"


class Earlier(msgspec.Struct, frozen=True):
    """The report before.

    Attributes:
        at: When it was made, ISO 8601 in UTC.
        mark: The state that it was about.
        example_count: Examples then; None when it does not say.
    """

    at: str
    mark: str
    example_count: int | None


def report_metadata(
    facts: ReportFacts, charts: Mapping[str, bytes], before: Earlier | None
) -> dict[str, dg.MetadataValue]:
    """Everything at a glance; int and float are plotted over the reports."""
    return {
        "summary": dg.MetadataValue.md(_summary(facts, before)),
        "charts": dg.MetadataValue.md(_pictures(charts)),
        **report_tables(facts),
        **_numbers(facts, before),
        "training_threshold_reached": dg.MetadataValue.bool(
            facts.examples.training_threshold_reached
        ),
        "index_target": dg.MetadataValue.text(facts.index.target or "none yet"),
        "as_of": dg.MetadataValue.text(facts.as_of),
        MARK: dg.MetadataValue.text(facts.mark),
    }


def _pictures(charts: Mapping[str, bytes]) -> str:
    """All of them as one Markdown, that one click opens, and no server is asked for."""
    return (
        "\n\n".join(
            f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})"
            for name, png in charts.items()
        )
        or "nothing to draw yet"
    )


def _summary(facts: ReportFacts, before: Earlier | None) -> str:
    lines = headline(facts)
    if before is not None and before.example_count is not None:
        added = facts.examples.example_count - before.example_count
        lines.insert(1, f"{added:+,} examples since the report of {before.at}")
    return "\n".join(f"- {_ESCAPED.sub(_BACKSLASHED, line)}" for line in lines)


def _numbers(facts: ReportFacts, before: Earlier | None) -> dict[str, dg.MetadataValue]:
    files, examples = facts.files, facts.examples
    numbers: dict[str, int | None] = {
        "file_count": files.file_count,
        "gone_file_count": files.gone_count,
        "size_bytes": files.size_bytes,
        "lag_bytes": files.lag_bytes,
        "behind_file_count": files.behind_count,
        "left_out_path_count": files.left_out_count,
        **{f"lag_bytes_{each.stage}": each.lag_bytes for each in files.stages},
        "event_count": files.event_count,
        "pattern_count": facts.patterns.pattern_count,
        EXAMPLE_COUNT: examples.example_count,
        "example_growth": _growth(examples.example_count, before),
        "duplicate_count": examples.duplicate_count,
        "training_threshold": examples.training_threshold,
        "dead_letter_count": facts.dead_letters.dead_letter_count,
        "lost_bytes_at_least": facts.dead_letters.lost_bytes,
        "index_waiting_change_count": facts.index.waiting_change_count,
        "index_behind_file_count": facts.index.behind_file_count,
        "open_breaker_count": sum(
            each.state != "closed" for each in facts.dependencies
        ),
        "measured_count": facts.metrics.measured_count,
        **{
            f"{status}_proposal_count": count
            for status, count in facts.proposals.by_status.items()
        },
    }
    return {
        name: dg.MetadataValue.int(number)
        for name, number in numbers.items()
        if number is not None
    } | _latest_day(facts)


def _growth(example_count: int, before: Earlier | None) -> int | None:
    if before is None or before.example_count is None:
        return None
    return example_count - before.example_count


def _latest_day(facts: ReportFacts) -> dict[str, dg.MetadataValue]:
    if not facts.metrics.by_day:
        return {}
    newest = facts.metrics.by_day[-1]
    figures = {
        "latest_day_success_rate": newest.success_rate,
        "latest_day_latency_ms_mean": newest.latency_ms_mean,
    }
    return {
        name: dg.MetadataValue.float(figure)
        for name, figure in figures.items()
        if figure is not None
    }
