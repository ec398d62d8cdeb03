"""Postgres' connection is cut: it is known whether the commit happened, and on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from learning_pipeline.errors import FencedError, StoreUnavailableError
from learning_pipeline.store import Store
from learning_pipeline_tests.store.postgres_proxy import (
    COMMIT,
    COPY_ROW,
    Cut,
    PostgresProxy,
    proxied,
)
from learning_pipeline_tests.store.samples import (
    PARTITION,
    begin,
    commit_to,
    open_session,
    process,
)
from learning_pipeline_tests.store.whole_passes import (
    END_OFFSET,
    assert_exact,
    one_pass,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SWEEP_STRIDE = int(os.environ.get("LEARNING_PIPELINE_TEST_CUT_STRIDE", "31"))
"""Every so many-th message of a pass is cut at, in the test of all of them."""


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[tuple[PostgresProxy, str]]:
    """A proxy that cuts when told to, and the URL through it; a prepared database."""
    Store(postgres_url).close()
    with proxied(postgres_url) as through:
        yield through


@pytest.mark.parametrize(
    ("where", "prefix", "found_kept"),
    [
        (Cut.BEFORE, COMMIT, False),
        (Cut.AFTER, COMMIT, True),
        (Cut.AT_ONCE, COMMIT, None),
        (Cut.BEFORE, COPY_ROW, False),
        (Cut.AT_ONCE, COPY_ROW, False),
    ],
)
def test_a_pass_goes_on_over_a_cut_and_knows_what_was_committed(
    proxy: tuple[PostgresProxy, str],
    postgres_url: str,
    where: Cut,
    prefix: bytes,
    found_kept: bool | None,  # noqa: FBT001 - None: either may be
) -> None:
    """Before COMMIT arrives, after its answer was lost, and amid the rows."""
    cutter, through = proxy
    with Store(through) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        cutter.messages.clear()
        cutter.cut_once(where, prefix)
        with capture_logs() as logged:
            claim = commit_to(session, claim, 200)
        events = {line["event"] for line in logged}
        if found_kept is not None:
            assert ("commit_found_kept" in events) is found_kept
            assert ("store_connection_lost" in events) is not found_kept
        session.sync([commit_to(session, claim, END_OFFSET)])
    assert_exact(postgres_url)


def test_a_commit_that_is_still_under_way_is_waited_for(
    proxy: tuple[PostgresProxy, str], postgres_url: str
) -> None:
    """The server goes on committing after its client is gone."""
    cutter, through = proxy
    with Store(through) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        uri = make_url(postgres_url).set(drivername="postgresql")
        with psycopg.connect(uri.render_as_string(hide_password=False)) as admin:
            admin.execute(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'"
            )
            admin.execute(
                "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON checkpoints DEFERRABLE "
                "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
            )
        cutter.cut_once(Cut.AT_ONCE, COMMIT)
        with capture_logs() as logged:
            commit_to(session, claim, END_OFFSET, step=200)
        assert [line["event"] for line in logged] == ["commit_found_kept"]
    assert_exact(postgres_url)


@pytest.mark.usefixtures("few_tries")
@pytest.mark.parametrize("where", [Cut.BEFORE, Cut.AFTER])
@pytest.mark.parametrize("prefix", [COMMIT, COPY_ROW])
def test_a_commit_that_cannot_be_asked_after_is_said_to_be_in_doubt(
    proxy: tuple[PostgresProxy, str], postgres_url: str, where: Cut, prefix: bytes
) -> None:
    """Only where it is; the same session goes on once the server is back."""
    cutter, through = proxy
    with Store(through) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        cutter.cut_once(where, prefix)
        cut = cutter.plan

        def cut_and_shut(message: bytes) -> Cut | None:
            found = cut(message)
            cutter.is_open = cutter.is_open and found is None
            return found

        cutter.plan = cut_and_shut
        with pytest.raises(StoreUnavailableError, match="run again") as caught:
            commit_to(session, claim, 200)
        is_in_doubt = prefix == COMMIT
        assert caught.value.is_in_doubt is is_in_doubt
        assert ("Only what was committed before is kept" in str(caught.value)) is (
            not is_in_doubt
        )
        with pytest.raises(StoreUnavailableError):
            session.claim(PARTITION)
        cutter.is_open = True
        claim = session.claim(PARTITION)
        kept = is_in_doubt and where is Cut.AFTER
        assert claim.checkpoint.offset == (200 if kept else 100)
        session.sync([commit_to(session, claim, END_OFFSET)])
    assert_exact(postgres_url)


@pytest.mark.parametrize("where", [Cut.BEFORE, Cut.AFTER])
def test_a_commit_in_doubt_that_another_run_has_passed_is_fenced(
    proxy: tuple[PostgresProxy, str], postgres_url: str, where: Cut
) -> None:
    """Whether it was kept or not, the other goes on from what was."""
    cutter, through = proxy
    with Store(through) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        cutter.cut_once(where, COMMIT)
        cut = cutter.plan

        def overtake(message: bytes) -> Cut | None:
            if b"FOR UPDATE" in message:
                with Store(postgres_url) as other:
                    process(other, END_OFFSET, run_id="run-2")
            return cut(message)

        cutter.plan = overtake
        with pytest.raises(FencedError):
            commit_to(session, claim, 200)
    assert_exact(postgres_url)


def _message_count(proxy: PostgresProxy, through: str, url: str) -> int:
    proxy.messages.clear()
    with Store(through) as store:
        one_pass(store)
    _empty(url)
    return len(proxy.messages)


def _empty(url: str) -> None:
    uri = make_url(url).set(drivername="postgresql")
    with psycopg.connect(uri.render_as_string(hide_password=False)) as connection:
        connection.execute(
            "TRUNCATE partitions, stages, checkpoints, checkpoint_history, generations,"
            " event_counts, dead_letters, patterns RESTART IDENTITY"
        )


@pytest.mark.parametrize("where", list(Cut))
def test_a_cut_at_any_message_of_a_pass_loses_and_doubles_nothing(
    proxy: tuple[PostgresProxy, str], postgres_url: str, where: Cut
) -> None:
    """The pass goes on by itself, or fails and the next one ends it."""
    cutter, through = proxy
    message_count = _message_count(cutter, through, postgres_url)
    failed_count = 0
    for number in range(1 + message_count % SWEEP_STRIDE, message_count, SWEEP_STRIDE):
        cutter.cut_once(where, b"", occurrence=number)
        try:
            with Store(through) as store:
                one_pass(store)
        except StoreUnavailableError as error:
            assert not error.is_in_doubt  # noqa: PT017 - not each cut fails the pass
            failed_count += 1
        cutter.plan = lambda _: None
        with Store(through) as store:
            one_pass(store)
        assert_exact(postgres_url)
        _empty(postgres_url)
    # Cut while it is only being opened, a run fails at once.
    assert failed_count < message_count / SWEEP_STRIDE / 2
