"""Commits are atomic but not synced, until `sync` makes all of them durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from learning_pipeline.store import Store
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    begin,
    commit_to,
    fingerprint_at,
    open_session,
    process,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_pipeline.store import StageSession
    from learning_pipeline_tests.store.conftest import FailAt

NORMAL = 1


def _statements(session: StageSession) -> list[str]:
    """Every statement that SQLite runs on the session's connection from now on."""
    seen: list[str] = []
    session._connection.driver_connection.set_trace_callback(
        lambda statement: seen.append(" ".join(statement.split()[:2]))
    )
    return seen


def _pragma(session: StageSession, name: str) -> Any:
    connection = session._connection.driver_connection
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_sqlite_commits_without_a_sync_in_wal_mode(
    sqlite_url: str, run_at: Callable[[str, Callable[[], None]], None]
) -> None:
    """`synchronous=NORMAL`, as it stands inside of the commit's own transaction."""
    seen: list[tuple[str, int]] = []
    with Store(sqlite_url) as store, open_session(store) as session:
        run_at(
            "commit.rows_written",
            lambda: seen.append(
                (_pragma(session, "journal_mode"), _pragma(session, "synchronous"))
            ),
        )
        commit_to(session, session.claim(PARTITION), 200)
    assert seen == [("wal", NORMAL), ("wal", NORMAL)]


def test_sqlite_syncs_with_one_full_commit(sqlite_url: str) -> None:
    """FULL around the transaction, NORMAL again behind it."""
    with Store(sqlite_url) as store, open_session(store) as session:
        claim = commit_to(session, session.claim(PARTITION), 200)
        seen = _statements(session)
        session.sync([claim])
        assert seen == [
            "PRAGMA synchronous=FULL",
            "BEGIN IMMEDIATE",
            "UPDATE checkpoints",
            "COMMIT",
            "PRAGMA synchronous=NORMAL",
        ]
        assert _pragma(session, "synchronous") == NORMAL


def test_sqlite_has_something_to_sync_also_when_no_offset_moved(
    sqlite_url: str,
) -> None:
    """SQLite leaves out a write of the same values, and with it the sync of the log."""
    with Store(sqlite_url) as store, open_session(store) as session:
        claim = begin(session, session.claim(PARTITION))
        before = store.checkpoints()
        session.sync([claim])
        [synced] = store.checkpoints()
    assert synced.synced_offset == 0
    assert synced.updated_at > before[0].updated_at


def test_postgres_commits_without_a_sync(
    postgres_url: str, run_at: Callable[[str, Callable[[], None]], None]
) -> None:
    """`synchronous_commit=off`, as it stands inside of the commit's transaction."""
    seen: list[str] = []
    with Store(postgres_url) as store, open_session(store) as session:
        claim = session.claim(PARTITION)

        def look() -> None:
            session._cursor.execute("SHOW synchronous_commit")
            seen.append(session._cursor.fetchone()[0])

        run_at("commit.rows_written", look)
        commit_to(session, claim, 200)
    assert seen == ["off", "off"]


def test_postgres_has_flushed_all_commits_after_a_sync(postgres_url: str) -> None:
    """The log is on stable storage up to where it stood before."""
    uri = make_url(postgres_url).set(drivername="postgresql")
    with (
        psycopg.connect(
            uri.render_as_string(hide_password=False), autocommit=True
        ) as other,
        Store(postgres_url) as store,
        open_session(store) as session,
    ):
        for end_offset in (500, 1000):
            claim = commit_to(session, session.claim(PARTITION), end_offset)
            [(written,)] = other.execute("SELECT pg_current_wal_insert_lsn()")
            session.sync([claim])
            [(flushed,)] = other.execute(
                "SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", [written]
            )
            assert flushed
        session._cursor.execute("SHOW synchronous_commit")
        assert session._cursor.fetchone() == ("off",)


def test_the_synced_offset_is_recorded_and_survives_later_commits(
    store: Store,
) -> None:
    """It says up to where telemetry could be deleted."""
    with open_session(store) as session:
        claim = commit_to(session, session.claim(PARTITION), 200)
        other = commit_to(session, session.claim("b.jsonl"), 100)
        session.sync([claim, other])
        assert [each.synced_offset for each in store.checkpoints()] == [200, 100]
        claim = session.claim(PARTITION)
        claim = commit_to(session, claim, 300)
        session.finish_pass(claim, seen_signature="seen", size_bytes=300)
        [checkpoint] = store.checkpoints(keys=[PARTITION])
        assert (checkpoint.offset, checkpoint.synced_offset) == (300, 200)
        begin(session, claim, generation=1)
        [checkpoint] = store.checkpoints(keys=[PARTITION])
        assert checkpoint.synced_offset == 0


def test_a_fenced_claim_is_not_marked_as_synced(store: Store) -> None:
    """Nor is what the newest claimant had marked taken back."""
    with open_session(store) as zombie, open_session(store) as newest:
        old = commit_to(zombie, zombie.claim(PARTITION), 100)
        kept = commit_to(zombie, zombie.claim("b.jsonl"), 100)
        new = newest.claim(PARTITION)
        zombie.sync([old, kept])
        assert [each.synced_offset for each in store.checkpoints()] == [0, 100]
        newest.sync([commit_to(newest, new, 300)])
        zombie.sync([old])
    assert [each.synced_offset for each in store.checkpoints()] == [300, 100]


def test_a_synced_offset_is_never_lowered_by_an_older_claim(store: Store) -> None:
    """The claims of one run may be synced in any order."""
    with open_session(store) as session:
        first = commit_to(session, session.claim(PARTITION), 100)
        second = commit_to(session, first, 200)
        session.sync([second])
        session.sync([first])
    assert [each.synced_offset for each in store.checkpoints()] == [200]


def test_a_rewound_claim_is_not_marked_as_synced(store: Store) -> None:
    """Also when the file was read again past it."""
    with open_session(store) as session:
        claim = commit_to(session, session.claim(PARTITION), 200)
        store.rewind(stage=STAGE, partition=PARTITION, to_offset=0)
        process(store, 300)
        session.sync([claim])
    assert [each.synced_offset for each in store.checkpoints()] == [0]


def test_syncing_nothing_is_nothing(store: Store) -> None:
    """A run without files has no claims."""
    with open_session(store) as session:
        session.sync([])


@pytest.mark.parametrize("step", ["commit.rows_written", "sync.before"])
def test_a_session_gives_its_connection_back_clean(
    sqlite_url: str, fail_at: FailAt, step: str
) -> None:
    """After any failure: `synchronous=NORMAL`, and no transaction is open."""
    with Store(sqlite_url) as store:
        with open_session(store) as session:
            claim = commit_to(session, session.claim(PARTITION), 100)
            fail_at(step, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                session.sync([commit_to(session, claim, 200)])
        pooled = store._engine.raw_connection()
        connection: Any = pooled.driver_connection
        assert not connection.in_transaction
        assert connection.execute("PRAGMA synchronous").fetchone() == (NORMAL,)
        pooled.close()
        store.rewind(stage=STAGE, partition=PARTITION, to_offset=0)
        pooled = store._engine.raw_connection()
        connection = pooled.driver_connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (NORMAL,)
        pooled.close()


def test_a_rewind_is_synced_at_once(sqlite_url: str) -> None:
    """What an operator took back does not return after a power cut."""
    seen: list[str] = []
    with Store(sqlite_url) as store:
        process(store, 200)
        pooled = store._engine.raw_connection()
        connection: Any = pooled.driver_connection
        connection.set_trace_callback(seen.append)
        pooled.close()
        store.rewind(stage=STAGE, partition=PARTITION, to_offset=0)
    assert seen[0] == "PRAGMA synchronous=FULL"
    assert seen.index("COMMIT") < seen.index("PRAGMA synchronous=NORMAL")


def test_fingerprints_of_a_synced_checkpoint_stay(store: Store) -> None:
    """Marking touches nothing but the mark and the time."""
    with open_session(store) as session:
        claim = commit_to(session, session.claim(PARTITION), 200)
        session.sync([claim])
        [checkpoint] = store.checkpoints()
    assert checkpoint.fingerprint == fingerprint_at(200)
    assert checkpoint.counters == claim.checkpoint.counters
    assert checkpoint.sequence == claim.checkpoint.sequence
