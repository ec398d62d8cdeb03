"""Circuit breakers' states, shared by all processes of one state database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.codec import utc_now
from learning_pipeline.store.schema import breakers
from learning_pipeline.store.statements import insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learning_pipeline.store import Store

CLOSED = "closed"

_REPLACED = ("state", "failure_count", "success_count", "opened_at", "last_error")


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """One dependency's breaker.

    Attributes:
        name: The dependency.
        state: `closed`, `open` or `half-open`.
        failure_count: Failures in a row.
        success_count: Successes in a row while half-open.
        opened_at: When it last opened, ISO 8601 in UTC; None if it never did.
        last_error: What went wrong last, redacted; None if nothing ever did.
        updated_at: When any of this last changed.
    """

    name: str
    state: str = CLOSED
    failure_count: int = 0
    success_count: int = 0
    opened_at: str | None = None
    last_error: str | None = None
    updated_at: str = ""


class BreakerChange(msgspec.Struct, frozen=True, kw_only=True):
    """What changes of a breaker; what is None stays.

    Attributes:
        state: The new state.
        failure_count: The new number of failures in a row.
        success_count: The new number of successes in a row.
        opened_at: When it opened.
        last_error: What went wrong.
        added_failures: Added to the failures; no other process's are lost.
        added_successes: Added to the successes.
    """

    state: str | None = None
    failure_count: int | None = None
    success_count: int | None = None
    opened_at: str | None = None
    last_error: str | None = None
    added_failures: int = 0
    added_successes: int = 0


def breaker_states(
    store: Store, names: Sequence[str] | None = None
) -> list[BreakerState]:
    """The breakers that ever had anything to say, all or of these, by name."""
    query = sa.select(breakers).order_by(breakers.c.name)
    if names is not None:
        query = query.where(breakers.c.name.in_(names))
    with store.snapshot() as connection:
        return [BreakerState(**row) for row in connection.execute(query).mappings()]


def change_breaker(store: Store, name: str, change: BreakerChange) -> None:
    """Change one breaker; made first when there is none."""
    values: dict[str, object] = {
        key: value for key in _REPLACED if (value := getattr(change, key)) is not None
    }
    # In the database: two processes that fail at once count as two.
    if change.added_failures:
        values["failure_count"] = breakers.c.failure_count + change.added_failures
    if change.added_successes:
        values["success_count"] = breakers.c.success_count + change.added_successes
    now = utc_now()
    with store.change() as connection:
        connection.execute(
            insert(breakers, connection.dialect).on_conflict_do_nothing(),
            {
                "name": name,
                "state": CLOSED,
                "failure_count": 0,
                "success_count": 0,
                "updated_at": now,
            },
        )
        connection.execute(
            sa.update(breakers)
            .where(breakers.c.name == name)
            .values(updated_at=now, **values)
        )
