"""The facts of a report, as they are shown, printed and encoded as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from learning_pipeline.learning.report.index_state import IndexFacts
    from learning_pipeline.stages.fleet import Fleet
    from learning_pipeline.store.breakers import BreakerState
    from learning_pipeline.store.report_counts import KindCount, ReasonCount
    from learning_pipeline.store.report_days import DayMeasures


class DayGrowth(msgspec.Struct, frozen=True):
    """How the examples grew on one day.

    Attributes:
        day: Of the events, in UTC: `2026-05-28`.
        example_count: Examples of that day.
        total_count: All up to and with that day; those count along of which it is not
            known when they happened.
    """

    day: str
    example_count: int
    total_count: int


class ExampleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The fine-tuning dataset.

    Attributes:
        example_count: Examples: one per content.
        duplicate_count: Quality patterns whose content is that of an example.
        indexed_count: Examples that the search index was given.
        training_threshold: From how many on training is worth while.
        training_threshold_reached: Whether there are as many.
        undated_count: Examples whose event does not say when it was.
        later_count: Examples of a day that has not come yet.
        by_day: The last days with examples, oldest first.
    """

    example_count: int
    duplicate_count: int
    indexed_count: int
    training_threshold: int
    training_threshold_reached: bool
    undated_count: int
    later_count: int
    by_day: list[DayGrowth]


class PatternFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned.

    Attributes:
        pattern_count: Patterns.
        by_kind: Of the kinds with the most.
    """

    pattern_count: int
    by_kind: list[KindCount]


class DeadLetterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be processed.

    Attributes:
        dead_letter_count: Records that `interaction_patterns` could not process.
        lost_bytes: Bytes, at least, that went away before it read them.
        by_reason: By stage and reason; each stage that reads telemetry has its own.
    """

    dead_letter_count: int
    lost_bytes: int
    by_reason: list[ReasonCount]


class BackendMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """How well a backend does.

    Attributes:
        backend: Backend or model; None: none was stated.
        event_count: Events of which something was measured.
        success_rate: Of those of which it is known, 0 to 1.
        latency_ms_mean: Of those that state one, like the others.
        latency_ms_p50: Half are faster.
        latency_ms_p95: So are 95 of 100.
    """

    backend: str | None
    event_count: int
    success_rate: float | None
    latency_ms_mean: float | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None


class MetricFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How well the agents do.

    Attributes:
        measured_count: Events of which something was measured.
        since: The first day of `backends`; None: of whatever day, no event says.
        backends: Those of the most events.
        by_day: The last days with measurements, oldest first.
    """

    measured_count: int
    since: str | None
    backends: list[BackendMetrics]
    by_day: list[DayMeasures]


class ProposalLine(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal, in one line.

    Attributes:
        proposal_id: Its id.
        status: `proposed`, `preliminary`, `accepted` or `rejected`.
        sample_count: Events that it rests on.
        title: What it proposes.
    """

    proposal_id: str
    status: str
    sample_count: int
    title: str


class ProposalFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What could be tuned.

    Attributes:
        by_status: How many, by status.
        first: Those to decide about first: proposed before preliminary, most samples.
    """

    by_status: dict[str, int]
    first: list[ProposalLine]


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at a glance.

    Attributes:
        as_of: When it was looked at, ISO 8601 in UTC.
        mark: Stays the same as long as nothing is committed, decided or found out.
        files: How far all stages are in all files.
        patterns: What was learned.
        examples: The fine-tuning dataset.
        dead_letters: What could not be processed.
        index: The search index.
        dependencies: The circuit breakers of services, by name.
        metrics: How well the agents do.
        proposals: What could be tuned.
    """

    as_of: str
    mark: str
    files: Fleet
    patterns: PatternFacts
    examples: ExampleFacts
    dead_letters: DeadLetterFacts
    index: IndexFacts
    dependencies: list[BreakerState]
    metrics: MetricFacts
    proposals: ProposalFacts
