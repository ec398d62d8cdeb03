"""What was decided of proposals, for ever, beside the signals that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.chunks import by_code_point
from learning_pipeline.store.schema import proposals
from learning_pipeline.store.signals import SignalGroup, count_groups, select_groups
from learning_pipeline.store.statements import insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learning_pipeline.store import Store


class StoredDecision(msgspec.Struct, frozen=True):
    """A row of `proposals`.

    Attributes:
        proposal_id: Its identity, for ever.
        kind: What sort of proposal.
        subject: What it is about.
        decision: `accepted` or `rejected`; None while it is not decided.
        note: What the one who decided said.
        decided_at: When, ISO 8601 in UTC.
        posted_to: The URLs that it was posted to, one a line.
        posted_at: When last.
    """

    proposal_id: str
    kind: str
    subject: str
    decision: str | None = None
    note: str | None = None
    decided_at: str | None = None
    posted_to: str | None = None
    posted_at: str | None = None


class Found(msgspec.Struct, frozen=True):
    """Everything that proposals are made of, from one snapshot.

    Attributes:
        groups: By sample count, signal and subject; the largest first.
        left_out_count: Groups that were too many.
        decisions: By proposal id.
    """

    groups: Sequence[SignalGroup]
    left_out_count: int
    decisions: Sequence[StoredDecision]


def find_signals(store: Store, *, group_count: int, example_count: int) -> Found:
    """Group all signals; in memory are the largest groups, and all decided ones.

    Args:
        store: Where.
        group_count: How many groups at most, apart from those of decided proposals.
        example_count: How many examples of each at most.
    """
    with store.snapshot() as connection:
        decisions = [
            StoredDecision(*row)
            for row in connection.execute(
                sa.select(proposals).order_by(
                    by_code_point(connection, proposals.c.proposal_id)
                )
            )
        ]
        groups = select_groups(
            connection,
            count=group_count,
            also_of={each.subject for each in decisions},
            example_count=example_count,
        )
        total_count = count_groups(connection)
    return Found(groups, max(total_count - len(groups), 0), decisions)


def put_decision(store: Store, decided: StoredDecision) -> StoredDecision | None:
    """Remember a decision, durably and for ever, in place of an earlier one.

    Where it was posted to stays as it was.

    Returns:
        What was remembered before; None if nothing.
    """
    with store.change() as connection:
        before = _remembered(connection, decided.proposal_id)
        _put(connection, decided, ("decision", "note", "decided_at"))
    return before


def mark_posted(store: Store, posted: StoredDecision, *, url: str) -> None:
    """Remember, durably, that a proposal was posted to `url`; the decision stays."""
    with store.change() as connection:
        before = _remembered(connection, posted.proposal_id)
        urls = posted_urls(before)
        listed = "\n".join([*urls, *({url} - set(urls))])
        _put(
            connection,
            msgspec.structs.replace(posted, posted_to=listed),
            ("posted_to", "posted_at"),
        )


def posted_urls(decision: StoredDecision | None) -> list[str]:
    """The URLs that a proposal was posted to."""
    return ((decision and decision.posted_to) or "").splitlines()


def _remembered(connection: sa.Connection, proposal_id: str) -> StoredDecision | None:
    row = connection.execute(
        sa.select(proposals).where(proposals.c.proposal_id == proposal_id)
    ).first()
    return None if row is None else StoredDecision(*row)


def _put(
    connection: sa.Connection, decision: StoredDecision, columns: Sequence[str]
) -> None:
    values = msgspec.structs.asdict(decision)
    connection.execute(
        insert(proposals, connection.dialect)
        .values(
            {name: values[name] for name in ("proposal_id", "kind", "subject")}
            | {name: values[name] for name in columns}
        )
        .on_conflict_do_update(
            index_elements=["proposal_id"],
            set_={name: values[name] for name in columns},
        )
    )
