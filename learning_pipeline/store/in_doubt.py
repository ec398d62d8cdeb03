"""Connections that are cut: did the last commit happen? And on, over a new one.

A connection that is lost after COMMIT was sent leaves its outcome open: it may have
been committed with the answer lost on the way. The checkpoint row knows. It is the
row that every commit locks first and moves, so reading it under a lock waits until
the commit in question has ended, either way, and then tells which way.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import psycopg
import sqlalchemy as sa

from learning_pipeline import logs
from learning_pipeline.errors import FencedError, StoreUnavailableError
from learning_pipeline.store.failures import explained
from learning_pipeline.store.schema import checkpoints

if TYPE_CHECKING:
    from learning_pipeline.model import Checkpoint
    from learning_pipeline.store.session_connection import Claim

WAITS_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Before each try to connect again: in all what a small server takes to restart."""

_POSITION = (
    checkpoints.c.fence,
    checkpoints.c.run_id,
    checkpoints.c.generation,
    checkpoints.c.sequence,
    checkpoints.c.offset,
)


class Reconnectable(Protocol):
    """A session over one connection, which can be made anew."""

    def has_lost_connection(self, *, is_failing: bool) -> bool:
        """Whether its connection can never be used again.

        Args:
            is_failing: Look closely; something has just failed.
        """

    def connect_again(self) -> None:
        """Give that connection up for a new one."""


_Session = TypeVar("_Session", bound=Reconnectable)
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def repeated_when_cut(
    method: Callable[Concatenate[_Session, _Given], _Result],
) -> Callable[Concatenate[_Session, _Given], _Result]:
    """Repeat a method once, over a new connection, when its own is lost.

    For methods of one transaction which have changed nothing when they fail, or may
    be repeated whether they have or not.

    Guarantees:
        Nothing is done twice: a repeated commit is a compare-and-swap like any.
    """

    @functools.wraps(method)
    def repeating(
        session: _Session, /, *given: _Given.args, **named: _Given.kwargs
    ) -> _Result:
        if session.has_lost_connection(is_failing=False):
            session.connect_again()
        try:
            return method(session, *given, **named)
        except StoreUnavailableError as error:
            if error.is_in_doubt or not session.has_lost_connection(is_failing=True):
                raise
            logs.get_logger().warning("store_connection_lost", error=str(error))
        session.connect_again()
        return method(session, *given, **named)

    return repeating


def is_closed(connection: Any) -> bool:
    """Whether a pool's connection has been lost, as far as its driver knows."""
    if not connection.is_valid:
        return True
    return bool(getattr(connection.dbapi_connection, "closed", False))


def raw_connection_again(engine: sa.Engine) -> Any:
    """A new connection, also to a server that is just restarting.

    Raises:
        StoreUnavailableError: It cannot be reached, in several tries.
    """
    url = engine.url.render_as_string(hide_password=False)
    waits = WAITS_SECONDS if engine.dialect.name != "sqlite" else (0.0,)
    for wait in waits[:-1]:
        time.sleep(wait)
        with contextlib.suppress(StoreUnavailableError), explained(url):
            return engine.raw_connection()
    time.sleep(waits[-1])
    with explained(url):
        return engine.raw_connection()


def was_committed(
    engine: sa.Engine, claim: Claim, after: Checkpoint, error: BaseException
) -> bool:
    """Find out, after COMMIT was sent and `error` came of it, whether it happened.

    Args:
        engine: To ask over another connection.
        claim: The claim that was committed with; its checkpoint is the state before.
        after: The state that the commit was to lead to.
        error: What the driver raised.

    Raises:
        StoreUnavailableError: The database cannot be asked (`is_in_doubt`), or it
            fell back to an earlier commit.
        FencedError: A newer claim was made.
    """
    if not isinstance(error, psycopg.OperationalError):
        # Any other error is the database's own word that it has rolled back.
        return False
    try:
        stored = _position_when_ended(engine, claim)
    except StoreUnavailableError as unreachable:
        message = (
            f"the connection was lost while a batch of {after.partition!r} was being "
            "committed, and the state database cannot be asked whether it was: "
            f"{unreachable.cause}. It is not known here; the checkpoint tells. Once "
            "the cause is gone, run again: it resumes from the checkpoint, with "
            "nothing lost or doubled either way."
        )
        raise StoreUnavailableError(message, is_in_doubt=True) from error
    before = claim.checkpoint
    if stored == (claim.fence, after.run_id, *_place(after)):
        logs.get_logger().warning(
            "commit_found_kept", partition=after.partition, offset=after.offset
        )
        return True
    if stored == (claim.fence, after.run_id, *_place(before)):
        return False
    raise refused(stored, claim, run_id=after.run_id)


def refused(
    stored: tuple[Any, ...] | None, claim: Claim, *, run_id: str
) -> FencedError | StoreUnavailableError:
    """Why a checkpoint is not where `claim` says: passed, or fallen back.

    Args:
        stored: Its fence, run, generation, sequence and offset; None: it is gone.
        claim: What was to be committed with.
        run_id: The run that has the claim.
    """
    before = claim.checkpoint
    fence, _, *place = stored or (0, "", -1, -1, -1)
    if fence < claim.fence or (
        fence == claim.fence and tuple(place[:2]) < _place(before)[:2]
    ):
        return StoreUnavailableError(
            "the state database has gone back behind the last commit of "
            f"{before.stage} of {before.partition!r}: it was restarted after a crash, "
            "restored or replaced. Rows and offset went back together; run again, and "
            "it resumes from there."
        )
    return FencedError(
        f"{before.stage} of {before.partition!r} was claimed by another run after "
        f"this one (run {run_id}); the other goes on from the last commit, "
        "nothing is lost and nothing to do.",
        stage=before.stage,
        partition=before.partition,
    )


def position(
    engine: sa.Engine, claim: Claim, *, when_ended: bool = False
) -> tuple[Any, ...] | None:
    """Fence, run, generation, sequence and offset of a claim's checkpoint as stored.

    Args:
        engine: To ask over a connection of its own.
        claim: Names the checkpoint.
        when_ended: Wait for a commit of it that is still under way on the server.
    """
    select = sa.select(*_POSITION).where(
        checkpoints.c.stage == claim.checkpoint.stage,
        checkpoints.c.partition_id == claim.partition_id,
    )
    if when_ended:
        select = select.with_for_update()
    with engine.connect() as connection, connection.begin():
        row = connection.execute(select).first()
    return tuple(row) if row else None


def refuse_fallen_back(
    engine: sa.Engine, claims: Sequence[Claim], *, run_id: str
) -> None:
    """Look for what was committed with `claims` and is not there any more.

    Raises:
        StoreUnavailableError: The database has gone back to an earlier commit.
    """
    for claim in claims:
        refusal = refused(position(engine, claim), claim, run_id=run_id)
        if isinstance(refusal, StoreUnavailableError):
            raise refusal


def _position_when_ended(engine: sa.Engine, claim: Claim) -> tuple[Any, ...] | None:
    raw_connection_again(engine).close()
    with explained(engine.url.render_as_string(hide_password=False)):
        return position(engine, claim, when_ended=True)


def _place(checkpoint: Checkpoint) -> tuple[int, int, int]:
    return checkpoint.generation, checkpoint.sequence, checkpoint.offset
