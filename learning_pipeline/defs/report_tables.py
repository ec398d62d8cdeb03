"""The tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from learning_pipeline.defs.tables import FLOAT, INT, TEXT, rounded, table
from learning_pipeline.learning.report.facts import ReportFacts
from learning_pipeline.learning.report.labels import shown_bytes, shown_label
from learning_pipeline.learning.report.wording import MAX_CAUSE_CHARS, counted
from learning_pipeline.stages.fleet import FileProgress
from learning_pipeline.store.breakers import BreakerState

MAX_PATH_CHARS = 200


def report_tables(facts: ReportFacts) -> dict[str, dg.MetadataValue]:
    """Everything that is a list, each bounded, and narrow: a page gives little room."""
    return {
        "files": _files(facts),
        "stages": _stages(facts),
        "patterns_by_kind": table(
            {"kind": TEXT, "patterns": INT, "examples": INT},
            (
                (shown_label(each.kind), each.pattern_count, each.example_count)
                for each in facts.patterns.by_kind
            ),
        ),
        "backends": _backends(facts),
        "proposals": table(
            {"proposal": TEXT, "status": TEXT},
            (
                (
                    f"{shown_label(each.title, MAX_PATH_CHARS)} ({each.proposal_id})",
                    f"{each.status}, {counted(each.sample_count, 'sample')}",
                )
                for each in facts.proposals.first
            ),
        ),
        "dead_letters": table(
            {"reason": TEXT, "stage": TEXT, "records": INT},
            (
                (shown_label(each.reason), shown_label(each.stage), each.count)
                for each in facts.dead_letters.by_reason
            ),
        ),
        "dependencies": dependency_table(facts.dependencies),
    }


def _files(facts: ReportFacts) -> dg.MetadataValue:
    return table(
        {
            "file": TEXT,
            "percent": FLOAT,
            "unread": TEXT,
            "patterns": INT,
            "dead_letters": INT,
        },
        (
            (
                shown_label(each.partition, MAX_PATH_CHARS),
                None if each.lag_bytes is None else round(each.percent, 1),
                _unread(each),
                each.pattern_count,
                each.dead_letter_count,
            )
            for each in facts.files.files
        ),
    )


def _unread(file: FileProgress) -> str:
    lost = f"; {shown_bytes(file.lost_bytes)} lost" if file.lost_bytes else ""
    if file.lag_bytes is None:
        return f"gone{lost}"
    slowest = f" ({file.slowest_stage})" if file.slowest_stage else ""
    return f"{shown_bytes(file.lag_bytes)}{slowest}{lost}"


def _stages(facts: ReportFacts) -> dg.MetadataValue:
    return table(
        {"stage": TEXT, "unread": TEXT, "rows": INT},
        (
            (
                each.stage,
                None
                if each.lag_bytes is None
                else shown_bytes(each.lag_bytes)
                + (f" in {counted(each.behind_count, 'file')}" * bool(each.lag_bytes)),
                each.row_count,
            )
            for each in facts.files.stages
        ),
    )


def _backends(facts: ReportFacts) -> dg.MetadataValue:
    return table(
        {
            "backend": TEXT,
            "events": INT,
            "success_%": FLOAT,
            "ms_p50": FLOAT,
            "ms_p95": FLOAT,
        },
        (
            (
                shown_label(each.backend),
                each.event_count,
                rounded(percent(each.success_rate), 1),
                rounded(each.latency_ms_p50, 0),
                rounded(each.latency_ms_p95, 0),
            )
            for each in facts.metrics.backends
        ),
    )


def percent(share: float | None) -> float | None:
    """A share of 0 to 1 in percent; None stays None."""
    return None if share is None else 100 * share


def dependency_table(states: Sequence[BreakerState]) -> dg.TableMetadataValue:
    """The circuit breakers of services."""
    return table(
        {"service": TEXT, "state": TEXT, "last_opened": TEXT, "last_error": TEXT},
        (
            (
                shown_label(each.name),
                each.state,
                each.opened_at,
                None
                if each.last_error is None
                else shown_label(each.last_error, MAX_CAUSE_CHARS),
            )
            for each in states
        ),
    )
