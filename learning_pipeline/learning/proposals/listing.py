"""The proposals as they stand: what signals make of them, and what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from learning_pipeline.errors import UnknownProposalError
from learning_pipeline.learning.events.texts import clean_text
from learning_pipeline.learning.proposals.composing import (
    ACCEPTED,
    REJECTED,
    Proposal,
    compose,
    identity_of,
    signal_of,
)
from learning_pipeline.store import Store, utc_now
from learning_pipeline.store.proposals import (
    StoredDecision,
    find_signals,
    put_decision,
)
from learning_pipeline.store.signals import SignalGroup

MAX_PROPOSALS: Final = 1_000
"""Those of the most samples are made; bounds memory. Decided ones come on top."""

EXAMPLE_COUNT: Final = 5


class Listing(msgspec.Struct, frozen=True):
    """The proposals of one moment.

    Attributes:
        proposals: By sample count, the largest first, then kind and subject.
        left_out_count: Those with fewer samples that were too many.
    """

    proposals: Sequence[Proposal]
    left_out_count: int = 0


class Decided(msgspec.Struct, frozen=True):
    """What became of a decision.

    Attributes:
        proposal: As it stands now.
        before: What was decided before: `accepted`, `rejected`, or None.
    """

    proposal: Proposal
    before: str | None


def list_proposals(store: Store, *, statuses: Sequence[str] = ()) -> Listing:
    """Return the proposals; of these statuses, or all.

    Guarantees: a function of the signals and decisions that are stored, from one
    snapshot; however they came, the same. One that was decided is listed for ever, if
    need be without samples.
    """
    found = find_signals(store, group_count=MAX_PROPOSALS, example_count=EXAMPLE_COUNT)
    decisions = {each.proposal_id: each for each in found.decisions}
    proposals = {}
    for group in [*found.groups, *_without_signals(found.decisions)]:
        identity = identity_of(group)
        if identity is not None and identity[0] not in proposals:
            decision = decisions.get(identity[0])
            proposals[identity[0]] = compose(group, decision)
    chosen = [
        each for each in proposals.values() if not statuses or each.status in statuses
    ]
    chosen.sort(key=lambda each: (-each.evidence.sample_count, each.kind, each.subject))
    return Listing(chosen, found.left_out_count)


def find_proposal(store: Store, id_prefix: str) -> Proposal:
    """Return the proposal whose id begins like this.

    Raises:
        UnknownProposalError: None does, or several do.
    """
    prefix = id_prefix.lower()
    found = [
        each
        for each in list_proposals(store).proposals
        if prefix and each.proposal_id.startswith(prefix)
    ]
    if not found:
        message = (
            f"there is no proposal {id_prefix[:100]!r}: `learning-pipeline proposals "
            "list` shows the ids"
        )
        raise UnknownProposalError(message)
    if len(found) > 1:
        ids = ", ".join(each.proposal_id for each in found[:5])
        message = f"{id_prefix[:100]!r} is the beginning of several proposals: {ids}"
        raise UnknownProposalError(message)
    return found[0]


def decide(
    store: Store,
    id_prefix: str,
    *,
    accept: bool,
    note: str | None = None,
    now: str | None = None,
) -> Decided:
    """Accept or reject a proposal, in place of an earlier decision.

    Args:
        store: Where.
        id_prefix: The id, or a beginning of it that no other has.
        accept: Else reject.
        note: Why; secrets are redacted, and 200 characters are kept.
        now: The time to record, ISO 8601 in UTC.

    Raises:
        UnknownProposalError: No proposal or several have that id.

    Guarantees: durable, and remembered whatever becomes of the telemetry.
    """
    proposal = find_proposal(store, id_prefix)
    decision = ACCEPTED if accept else REJECTED
    decided = StoredDecision(
        proposal.proposal_id,
        proposal.kind,
        proposal.subject,
        decision=decision,
        note=clean_text(note)[0],
        decided_at=now or utc_now(),
    )
    before = put_decision(store, decided)
    after = msgspec.structs.replace(
        proposal, status=decision, note=decided.note, decided_at=decided.decided_at
    )
    return Decided(after, None if before is None else before.decision)


def _without_signals(decisions: Sequence[StoredDecision]) -> list[SignalGroup]:
    return [
        SignalGroup(signal, each.subject, 0)
        for each in decisions
        if (signal := signal_of(each.kind)) is not None
    ]
