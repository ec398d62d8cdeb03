"""What a report says in words, in the UI, on the command line and in checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from learning_pipeline.learning.report.labels import shown_bytes, shown_label
from learning_pipeline.store.breakers import CLOSED
from learning_pipeline.store.index_feed import INDEX_STAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from learning_pipeline.learning.report.facts import DeadLetterFacts, ReportFacts
    from learning_pipeline.learning.report.index_state import IndexFacts
    from learning_pipeline.stages.fleet import StageProgress
    from learning_pipeline.store.breakers import BreakerState

MAX_CAUSE_CHARS = 300


def headline(facts: ReportFacts) -> list[str]:
    """The report in some sentences, the examples first."""
    return [
        examples_said(facts),
        files_said(facts),
        dead_letters_said(facts.dead_letters),
        index_said(facts.index),
        *breakers_said(facts.dependencies),
        proposals_said(facts),
    ]


def examples_said(facts: ReportFacts) -> str:
    """How large the dataset is, and whether that is enough."""
    examples = facts.examples
    threshold = f"the training threshold of {examples.training_threshold:,}"
    missing = examples.training_threshold - examples.example_count
    reached = (
        f"{threshold} is reached"
        if examples.training_threshold_reached
        else f"{missing:,} short of {threshold}"
    )
    return (
        f"{counted(examples.example_count, 'example')} and "
        f"{counted(examples.duplicate_count, 'duplicate')}; {reached}"
    )


def files_said(facts: ReportFacts) -> str:
    """How far the files are read."""
    files = facts.files
    learned = (
        f"{counted(facts.patterns.pattern_count, 'pattern')} of "
        f"{counted(files.event_count, 'event')}"
    )
    if files.problem is not None:
        return f"{learned}; {files.problem}"
    unread = (
        f"{shown_bytes(files.lag_bytes or 0)} not taken over by every stage, in "
        f"{files.behind_count:,} of them"
        if files.behind_count
        else "every stage has taken over all of them"
    )
    if not files.file_count:
        unread = "there are none"
    return f"{learned} in {counted(files.file_count, 'file')}; {unread}"


def dead_letters_said(found: DeadLetterFacts) -> str:
    """What could not be processed, or not even be read."""
    lost = (
        f"at least {shown_bytes(found.lost_bytes)} lost before they were read"
        if found.lost_bytes
        else "no bytes lost"
    )
    return f"{counted(found.dead_letter_count, 'dead letter')}, {lost}"


def index_said(index: IndexFacts) -> str:
    """Whether the search index has everything."""
    if not index.is_learned:
        return "the search index is left as it is, as LEARN_STAGES says"
    if index.target is None:
        return "nothing is indexed yet"
    waiting = [
        counted(count, what)
        for count, what in (
            (index.behind_file_count, "file"),
            (index.waiting_change_count, "change"),
        )
        if count
    ]
    if not waiting:
        return "the search index has every example"
    verb = "waits" if waiting in (["1 file"], ["1 change"]) else "wait"
    return f"{' and '.join(waiting)} {verb} to be taken over by the search index"


def breakers_said(states: Iterable[BreakerState]) -> list[str]:
    """What services are left alone, or were, and why; those that work are not said."""
    return [breaker_said(each) for each in states if each.state != CLOSED]


def breaker_said(state: BreakerState) -> str:
    """A service's breaker, in a line."""
    since = f" since {state.opened_at}" if state.opened_at else ""
    return f"{shown_label(state.name)} is {state.state}{since}{_cause_said(state)}"


def failing_said(states: Iterable[BreakerState]) -> list[str]:
    """What services failed last, though not so often that they are left alone."""
    return [
        f"{shown_label(each.name)} failed {counted(each.failure_count, 'time')} in a "
        f"row{_cause_said(each)}"
        for each in states
        if each.failure_count
    ]


def _cause_said(state: BreakerState) -> str:
    if not state.last_error:
        return ""
    return f": {shown_label(state.last_error, MAX_CAUSE_CHARS)}"


def proposals_said(facts: ReportFacts) -> str:
    """What there is to decide about."""
    by_status = facts.proposals.by_status
    return (
        f"{counted(by_status['proposed'], 'proposal')} to decide about, "
        f"{by_status['preliminary']:,} preliminary"
    )


def row_count(facts: ReportFacts, stage: StageProgress) -> int:
    """What a stage has made; of the search index points, and no duplicates."""
    is_index = stage.stage == INDEX_STAGE
    return facts.examples.indexed_count if is_index else stage.row_count


def counted(count: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
