"""The tables of a report, as narrow as Dagster's page is.

In a list of metadata a window of 1,500 px has 360 px for a table, and hides what is
beyond. That is 43 characters in which no line can be broken, of all columns together;
the borders of a column take two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import dagster as dg

from learning_pipeline.defs.tables import INT, TEXT, table
from learning_pipeline.learning.report.facts import (
    BackendMetrics,
    ProposalLine,
    ReportFacts,
)
from learning_pipeline.learning.report.labels import shown_bytes, shown_narrow
from learning_pipeline.learning.report.wording import counted, row_count
from learning_pipeline.stages.fleet import FileProgress, StageProgress
from learning_pipeline.store.breakers import CLOSED, BreakerState
from learning_pipeline.store.report_counts import ReasonCount

_NAME_RUN: Final = 22
"""Beside a column of words, of which none is longer than `optimization`."""

_KIND_RUN: Final = 20
"""Beside two columns of numbers."""

_ERROR_RUN: Final = 20
"""Beside the name of a service."""


def report_tables(facts: ReportFacts) -> dict[str, dg.MetadataValue]:
    """Everything that is a list, each bounded."""
    return {
        "files": table(
            {"file": TEXT, "progress": TEXT},
            (
                (shown_narrow(each.partition, _NAME_RUN), _progress(each))
                for each in facts.files.files
            ),
        ),
        "stages": table(
            {"stage": TEXT, "unread": TEXT, "rows": INT},
            (
                (each.stage, _unread(each), row_count(facts, each))
                for each in facts.files.stages
            ),
        ),
        "patterns_by_kind": table(
            {"kind": TEXT, "patterns": INT, "examples": INT},
            (
                (
                    shown_narrow(each.kind, _KIND_RUN),
                    each.pattern_count,
                    each.example_count,
                )
                for each in facts.patterns.by_kind
            ),
        ),
        "backends": table(
            {"backend": TEXT, "events": INT, "figures": TEXT},
            (
                (
                    shown_narrow(each.backend, _KIND_RUN),
                    each.event_count,
                    _figures(each),
                )
                for each in facts.metrics.backends
            ),
        ),
        "proposals": table(
            {"proposal": TEXT, "status": TEXT},
            (_proposal(each) for each in facts.proposals.first),
        ),
        "dead_letters": table(
            {"reason": TEXT, "records": INT},
            ((_rejected_by(each), each.count) for each in facts.dead_letters.by_reason),
        ),
        "dependencies": dependency_table(facts.dependencies),
    }


def _progress(file: FileProgress) -> str:
    said = [counted(file.pattern_count, "pattern")]
    if file.lag_bytes is None:
        said.insert(0, "gone")
    else:
        said.insert(0, f"{file.percent:.1f} %")
        if file.lag_bytes:
            # An identifier is one word, and too long a one.
            slowest = file.slowest_stage.replace("_", " ")
            said.insert(1, f"{shown_bytes(file.lag_bytes)} unread by {slowest}")
    if file.dead_letter_count:
        said.append(counted(file.dead_letter_count, "dead letter"))
    if file.lost_bytes:
        said.append(f"{shown_bytes(file.lost_bytes)} lost")
    return "; ".join(said)


def _unread(stage: StageProgress) -> str | None:
    if stage.lag_bytes is None:
        return None
    files = f" in {counted(stage.behind_count, 'file')}" if stage.lag_bytes else ""
    return shown_bytes(stage.lag_bytes) + files


def _figures(backend: BackendMetrics) -> str:
    success = percent(backend.success_rate)
    figures = [
        None if success is None else f"{success:.1f} % success",
        *(
            None if ms is None else f"{name} {ms:,.0f} ms"
            for name, ms in (
                ("p50", backend.latency_ms_p50),
                ("p95", backend.latency_ms_p95),
            )
        ),
    ]
    return "; ".join(each for each in figures if each is not None)


def _rejected_by(found: ReasonCount) -> str:
    stage = shown_narrow(found.stage, _NAME_RUN)
    return f"{shown_narrow(found.reason, _NAME_RUN)} ({stage})"


def _proposal(proposal: ProposalLine) -> tuple[str, str]:
    return (
        f"{shown_narrow(proposal.title, _NAME_RUN)} ({proposal.proposal_id})",
        f"{proposal.status}, {counted(proposal.sample_count, 'sample')}",
    )


def percent(share: float | None) -> float | None:
    """A share of 0 to 1 in percent; None stays None."""
    return None if share is None else 100 * share


def dependency_table(states: Sequence[BreakerState]) -> dg.TableMetadataValue:
    """The circuit breakers of services."""
    return table(
        {"service": TEXT, "state": TEXT},
        ((shown_narrow(each.name, _NAME_RUN), _state(each)) for each in states),
    )


def _state(breaker: BreakerState) -> str:
    if breaker.state == CLOSED and breaker.last_error is None:
        return breaker.state
    # To the minute: a moment with its zone is one long word.
    opened_at = (breaker.opened_at or "")[:16].replace("T", " ")
    since = f", opened at {opened_at} UTC" if opened_at else ""
    error = (
        f": {shown_narrow(breaker.last_error, _ERROR_RUN)}"
        if breaker.last_error is not None
        else ""
    )
    return f"{breaker.state}{since}{error}"
