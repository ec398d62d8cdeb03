"""Backends are terminated and servers restarted: the run goes on, or says why not."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from learning_pipeline.errors import StoreUnavailableError
from learning_pipeline.store import Store
from learning_pipeline_tests.conftest import administered, running_postgres, url_of
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
    from collections.abc import Callable

CUT_COUNT = 15
"""How many connections are cut at random moments."""


def _cut_connections(server: Any) -> None:
    with administered(server) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = 'store'"
        )


@pytest.mark.parametrize(
    "step",
    [
        "claim.before",
        "generation.before",
        "commit.begun",
        "commit.checkpoint_written",
        "commit.counts_written",
        "commit.rows_written",
        "commit.after",
        "sync.before",
    ],
)
def test_a_backend_that_is_terminated_is_replaced(
    postgres_url: str,
    postgres_server: Any,
    run_at: Callable[[str, Callable[[], None]], None],
    step: str,
) -> None:
    """Once it is repeated; a batch that is cut each time fails, and is not kept."""
    left = 1

    def cut() -> None:
        nonlocal left
        if left:
            left -= 1
            _cut_connections(postgres_server)

    run_at(step, cut)
    with Store(postgres_url) as store:
        one_pass(store)
        assert left == 0
        if step.startswith("commit") and step != "commit.after":
            left = 2
            with pytest.raises(StoreUnavailableError, match="run again"):
                one_pass(store, END_OFFSET + 100)
            assert store.checkpoints()[0].offset == END_OFFSET
        with ExitStack() as sessions:
            for _ in range(5):
                sessions.enter_context(open_session(store))
    assert_exact(postgres_url)


def test_backends_that_are_terminated_all_the_time_lose_and_double_nothing(
    postgres_url: str, postgres_server: Any
) -> None:
    """At whatever moment; a run that fails is followed by another."""
    ended = threading.Event()
    Store(postgres_url).close()

    def terminate() -> None:
        cut_count = 0
        with administered(postgres_server) as admin:
            while cut_count < CUT_COUNT and not ended.wait(0.05):
                cut_count += admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = 'store'"
                ).rowcount

    saboteur = threading.Thread(target=terminate)
    saboteur.start()
    end_offset = 0
    try:
        while saboteur.is_alive():
            try:
                with Store(postgres_url) as store:
                    end_offset += 500
                    process(store, end_offset, history_count=10_000)
            except StoreUnavailableError:
                continue
    finally:
        ended.set()
        saboteur.join()
    with Store(postgres_url) as store:
        process(store, end_offset, history_count=10_000)
    assert_exact(postgres_url, end_offset)


def _crash(server: Any) -> None:
    """End it as a power cut does: what was not synced is gone."""
    info = server.get_postmaster_info().process
    children = info.children(recursive=True)
    info.kill()
    info.wait(10)
    for child in children:
        if child.is_running():
            child.wait(10)


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_a_server_that_restarts_amid_a_pass_is_met_again(
    how: str,
) -> None:
    """It goes on; or, where a crash took commits back, says so, and resumes there."""
    with running_postgres() as server:
        with administered(server) as admin:
            admin.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            admin.execute("SELECT pg_reload_conf()")
        url = url_of(server, "postgres").render_as_string(hide_password=False)
        with Store(url) as store, open_session(store) as session:
            claim = begin(session, session.claim(PARTITION))
            claim = commit_to(session, claim, 100)
            session.sync([claim])
            claim = commit_to(session, claim, 200)
            if how == "restart":
                server.stop()
            else:
                _crash(server)
            server.ensure_postgres_running()
            if how == "restart":
                session.sync([commit_to(session, claim, END_OFFSET)])
            else:
                for use in (
                    lambda: commit_to(session, claim, END_OFFSET),
                    lambda: session.sync([claim]),
                ):
                    with pytest.raises(StoreUnavailableError, match="gone back"):
                        use()
                claim = session.claim(PARTITION)
                assert claim.checkpoint.offset == 100
                session.sync([commit_to(session, claim, END_OFFSET)])
        assert_exact(url)
