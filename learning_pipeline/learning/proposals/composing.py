"""What is proposed, made of what there are signals of."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from learning_pipeline.learning.proposals.signals import (
    CONNECTION_ERROR,
    ITERATION_LIMIT_HIT,
    MANY_ITERATIONS,
    MANY_ITERATIONS_TAKEN,
    SERVICE_TIMEOUT,
    TASK_TIMEOUT,
)
from learning_pipeline.store.proposals import StoredDecision, posted_urls
from learning_pipeline.store.signals import Place, SignalGroup

MIN_SAMPLES: Final = 20
"""With fewer signals a proposal is only preliminary."""

LIMIT_RAISE: Final = 0.25
BUDGET_RAISE: Final = 0.20

PRELIMINARY: Final = "preliminary"
PROPOSED: Final = "proposed"
ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
STATUSES: Final = (PRELIMINARY, PROPOSED, ACCEPTED, REJECTED)

_ID_CHARS: Final = 16


class Change(msgspec.Struct, frozen=True):
    """What to change.

    Attributes:
        what: The thing.
        from_value: How it is now; None when that is not known or there is none.
        to_value: How it should be.
    """

    what: str
    from_value: str | None
    to_value: str


class Evidence(msgspec.Struct, frozen=True):
    """What a proposal rests on.

    Attributes:
        sample_count: How many events showed the sign.
        task_count: How many measured events of that task type there are; None where
            the subject is no task type.
        first_seen: When first, ISO 8601 in UTC; None when no event states a time.
        last_seen: When last.
        most_observed: The largest value observed, in iterations or seconds.
        examples: Up to five of the events, the latest first.
    """

    sample_count: int
    task_count: int | None
    first_seen: str | None
    last_seen: str | None
    most_observed: float | None
    examples: Sequence[Place]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that could be tuned, and why.

    Attributes:
        proposal_id: Made of kind and subject, so that it is the same for ever.
        kind: What sort of change.
        subject: The task type or dependency that it is about.
        title: In a few words.
        rationale: Why, with the figures.
        change: What exactly.
        evidence: What it rests on.
        status: `preliminary` below `MIN_SAMPLES`, else `proposed`; `accepted` or
            `rejected` once that was decided, for ever.
        note: What the one who decided said.
        decided_at: When, ISO 8601 in UTC.
        posted_to: The URLs that it was posted to.
        posted_at: When last.
    """

    proposal_id: str
    kind: str
    subject: str
    title: str
    rationale: str
    change: Change
    evidence: Evidence
    status: str
    note: str | None = None
    decided_at: str | None = None
    posted_to: Sequence[str] = ()
    posted_at: str | None = None


class _Said(NamedTuple):
    title: str
    rationale: str
    change: Change


class _Kind(NamedTuple):
    name: str
    is_of_tasks: bool
    say: Callable[[SignalGroup], _Said]


def proposal_id_of(kind: str, subject: str) -> str:
    """Return a proposal's identity: 16 hexadecimal digits."""
    content = f"{kind}\n{subject}".encode()
    return hashlib.sha256(content).hexdigest()[:_ID_CHARS]


def identity_of(group: SignalGroup) -> tuple[str, str] | None:
    """Return id and kind of the proposal that signals make; None of an unknown one."""
    kind = _KINDS.get(group.signal)
    if kind is None:
        return None
    return proposal_id_of(kind.name, group.subject), kind.name


def signal_of(kind: str) -> str | None:
    """Return the signal that proposals of a kind are made of."""
    return next((name for name, each in _KINDS.items() if each.name == kind), None)


def compose(group: SignalGroup, decision: StoredDecision | None) -> Proposal:
    """Return the proposal that signals make.

    Args:
        group: The signals; of a known name.
        decision: What is remembered of it, if anything.
    """
    kind = _KINDS[group.signal]
    said = kind.say(group)
    known = decision or StoredDecision("", kind.name, group.subject)
    status = PROPOSED if group.sample_count >= MIN_SAMPLES else PRELIMINARY
    return Proposal(
        proposal_id=proposal_id_of(kind.name, group.subject),
        kind=kind.name,
        subject=group.subject,
        title=said.title,
        rationale=said.rationale,
        change=said.change,
        evidence=Evidence(
            group.sample_count,
            group.task_count if kind.is_of_tasks else None,
            group.first_seen,
            group.last_seen,
            group.most_observed,
            group.examples,
        ),
        status=known.decision or status,
        note=known.note,
        decided_at=known.decided_at,
        posted_to=posted_urls(known),
        posted_at=known.posted_at,
    )


def _raise_limit(group: SignalGroup) -> _Said:
    limit = group.usual_threshold
    if limit is None:
        now, to = None, "25 % more than now; no event states the limit"
    else:
        now, to = _number(limit), _number(math.ceil(limit * (1 + LIMIT_RAISE)))
    return _Said(
        f"Raise the iteration limit of {group.subject} tasks by 25 %",
        f"{_events(group)} {_out_of_tasks(group)}ended at the iteration limit"
        f"{'' if now is None else f', most often {now}'}"
        f"{_most(group, 'iterations were needed')}.",
        Change(f"iteration limit of {group.subject} tasks", now, to),
    )


def _add_check(group: SignalGroup) -> _Said:
    return _Said(
        f"Check that {group.subject} answers before work begins",
        f"{_events(group)} could not connect to {group.subject}.",
        Change(
            f"pre-flight check of {group.subject}",
            None,
            f"connect to {group.subject} before a task begins; wait or fail early",
        ),
    )


def _raise_budget(group: SignalGroup, of: str, events: str) -> _Said:
    budget = group.usual_threshold
    if budget is None:
        now, to = None, "20 % more than now; no event states the limit"
    else:
        now = f"{_number(budget)} s"
        to = f"{_number(budget * (1 + BUDGET_RAISE))} s"
    return _Said(
        f"Raise the time budget of {of} by 20 %",
        f"{events} ran out of time"
        f"{'' if now is None else f', most often after {now} allowed'}"
        f"{_most(group, 's were taken')}.",
        Change(f"time budget of {of}", now, to),
    )


def _raise_task_budget(group: SignalGroup) -> _Said:
    events = f"{_events(group)} {_out_of_tasks(group)}".rstrip()
    return _raise_budget(group, f"{group.subject} tasks", events)


def _raise_service_budget(group: SignalGroup) -> _Said:
    return _raise_budget(group, f"calls to {group.subject}", _events(group))


def _reduce(group: SignalGroup) -> _Said:
    return _Said(
        f"Split {group.subject} tasks, or say more in their prompts",
        f"{_events(group)} {_out_of_tasks(group)}took {MANY_ITERATIONS} iterations or "
        f"more{_most(group, 'iterations were needed')}; what takes more than 5 is not "
        "learned from.",
        Change(
            f"{group.subject} tasks",
            f"{MANY_ITERATIONS} iterations or more",
            "smaller tasks, or prompts that name files, constraints and the goal",
        ),
    )


def _events(group: SignalGroup) -> str:
    return "1 event" if group.sample_count == 1 else f"{group.sample_count:,} events"


def _out_of_tasks(group: SignalGroup) -> str:
    return f"(of {group.task_count:,} of {group.subject}) " if group.task_count else ""


def _most(group: SignalGroup, were: str) -> str:
    most = group.most_observed
    return "" if most is None else f"; up to {_number(most)} {were}"


def _number(value: float) -> str:
    return f"{value:.12g}"


_KINDS: Final = {
    ITERATION_LIMIT_HIT: _Kind("raise_iteration_limit", True, _raise_limit),  # noqa: FBT003 - named in the tuple
    CONNECTION_ERROR: _Kind("add_preflight_check", False, _add_check),  # noqa: FBT003 - (the same)
    TASK_TIMEOUT: _Kind("raise_task_timeout", True, _raise_task_budget),  # noqa: FBT003 - (the same)
    SERVICE_TIMEOUT: _Kind("raise_service_timeout", False, _raise_service_budget),  # noqa: FBT003 - (the same)
    MANY_ITERATIONS_TAKEN: _Kind("reduce_iterations", True, _reduce),  # noqa: FBT003 - (the same)
}
