"""Finding out the facts of a report: from the state database and the folders only.

No service is asked and no index opened, so that a report comes out whatever is down.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.metrics.aggregation import aggregate, records, select
from learning_pipeline.learning.proposals.composing import PROPOSED, STATUSES
from learning_pipeline.learning.proposals.listing import list_proposals
from learning_pipeline.learning.report.facts import (
    BackendMetrics,
    DayGrowth,
    DeadLetterFacts,
    ExampleFacts,
    MetricFacts,
    PatternFacts,
    ProposalFacts,
    ProposalLine,
    ReportFacts,
)
from learning_pipeline.learning.report.index_state import index_facts
from learning_pipeline.store.index_feed import INDEX_STAGE
from learning_pipeline.store.report_counts import ReportCounts, read_counts

if TYPE_CHECKING:
    from learning_pipeline.settings import Settings
    from learning_pipeline.stages.fleet import Fleet
    from learning_pipeline.store import Store

MAX_BACKENDS: Final = 20
MAX_PROPOSALS: Final = 5

BACKENDS_OF_DAYS: Final = 30
"""A quantile needs a look at every measurement: six seconds for a million."""


def gather(
    store: Store, settings: Settings, fleet: Fleet, *, now: datetime
) -> ReportFacts:
    """Find out the facts of this moment.

    Args:
        store: What was learned.
        settings: `TRAINING_THRESHOLD`, and those of the circuit breakers.
        fleet: How far all stages are, as `look_at_fleet` found.
        now: The time, with a time zone of UTC.
    """
    counts = read_counts(store, today=now.date().isoformat())
    return ReportFacts(
        as_of=now.isoformat(timespec="seconds"),
        mark=counts.mark,
        files=fleet,
        patterns=PatternFacts(pattern_count=counts.pattern_count, by_kind=counts.kinds),
        examples=_examples(counts, settings.training_threshold),
        dead_letters=DeadLetterFacts(
            dead_letter_count=fleet.dead_letter_count,
            lost_bytes=fleet.lost_bytes,
            by_reason=counts.reasons,
        ),
        index=index_facts(
            store, is_learned=any(each.stage == INDEX_STAGE for each in fleet.stages)
        ),
        dependencies=Breakers(store, settings).states(),
        metrics=_metrics(store, counts),
        proposals=_proposals(store),
    )


def _examples(counts: ReportCounts, threshold: int) -> ExampleFacts:
    of_days = sum(each.example_count for each in counts.days)
    # What is of no day, or of one too long ago to be shown, was there before.
    total = counts.example_count - counts.later_count - of_days
    by_day = []
    for each in counts.days:
        total += each.example_count
        by_day.append(DayGrowth(each.day, each.example_count, total))
    return ExampleFacts(
        example_count=counts.example_count,
        duplicate_count=counts.duplicate_count,
        indexed_count=counts.indexed_count,
        training_threshold=threshold,
        training_threshold_reached=counts.example_count >= threshold,
        undated_count=counts.undated_count,
        later_count=counts.later_count,
        by_day=by_day,
    )


def _metrics(store: Store, counts: ReportCounts) -> MetricFacts:
    where = None
    since = None
    if counts.measured_days:
        newest = date.fromisoformat(counts.measured_days[-1].day)
        since = date.fromordinal(max(newest.toordinal() - BACKENDS_OF_DAYS + 1, 1))
        until = newest + timedelta(days=1)
        where = select(since=since.isoformat(), until=until.isoformat())
    found = records(aggregate(store, by=("backend",), where=where))
    found.sort(key=lambda line: -line["event_count"])
    return MetricFacts(
        measured_count=counts.measured_count,
        since=None if since is None else since.isoformat(),
        backends=[_backend(line) for line in found[:MAX_BACKENDS]],
        by_day=counts.measured_days,
    )


def _backend(line: dict[str, Any]) -> BackendMetrics:
    return BackendMetrics(
        **{name: line[name] for name in BackendMetrics.__struct_fields__}
    )


def _proposals(store: Store) -> ProposalFacts:
    proposals = list_proposals(store).proposals
    counted = Counter(each.status for each in proposals)
    # By sample count already; what there is to decide about comes first.
    ordered = sorted(
        (each for each in proposals if each.decided_at is None),
        key=lambda each: each.status != PROPOSED,
    )
    return ProposalFacts(
        by_status={status: counted[status] for status in STATUSES},
        first=[
            ProposalLine(
                proposal_id=each.proposal_id,
                status=each.status,
                sample_count=each.evidence.sample_count,
                title=each.title,
            )
            for each in ordered[:MAX_PROPOSALS]
        ],
    )
