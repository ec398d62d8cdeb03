"""A run that waits for the embeddings endpoint does not keep searches out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from learning_pipeline import steps
from learning_pipeline.errors import (
    DependencyUnavailableError,
    FencedError,
    IndexBusyError,
)
from learning_pipeline.learning.breakers import EMBEDDINGS, Breakers
from learning_pipeline.learning.index import embedded_index, index_home
from learning_pipeline.learning.index.embedded import EmbeddedHome
from learning_pipeline.learning.index.embeddings import Embeddings
from learning_pipeline.learning.index.searching import search
from learning_pipeline.learning.index.turns import Turns
from learning_pipeline.learning.index.vectors import Vectorizer
from learning_pipeline.settings import Settings
from learning_pipeline.store import IndexIdentity, Store, index_feed
from learning_pipeline_tests.learning.index.conftest import MakeSettings
from learning_pipeline_tests.learning.index.http_server import (
    Answer,
    Request,
    ScriptedServer,
    embeddings_of,
)
from learning_pipeline_tests.learning.index.samples import example
from learning_pipeline_tests.learning.index.test_stage import A, Indexed
from learning_pipeline_tests.store.samples import STAGE

TIMEOUT_SECONDS = 1.5
LOCK_SECONDS = 1.8
"""Less than one request may take; by default the one is the double of the other."""


@pytest.fixture
def settings(make_settings: MakeSettings, embedding_server: ScriptedServer) -> Settings:
    """Of an embedded index with meanings."""
    return make_settings(
        embeddings_url=f"{embedding_server.url}/v1/embeddings",
        embeddings_model="letters",
        embeddings_batch=2,
        embeddings_timeout_seconds=TIMEOUT_SECONDS,
        index_lock_seconds=LOCK_SECONDS,
    )


@pytest.fixture
def indexed(settings: Settings) -> Iterator[Indexed]:
    """A state directory with two examples in its index."""
    with Store(settings.resolved_store_url) as store:
        found = Indexed(settings, store)
        found.learn(A, "how to bake bread", "how to mend a fence")
        found.index(A)
        yield found
    steps.listen(None)


@contextmanager
def background(function: Callable[[], Any]) -> Iterator[list[Exception]]:
    """Run it in a thread; gives what it raised, once it has ended."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - looked at by the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(60)


def hanging(_: Request) -> Answer:
    """Takes longer than anybody waits."""
    return Answer(delay_seconds=3600)


def test_a_search_is_let_in_while_the_endpoint_hangs(
    indexed: Indexed, embedding_server: ScriptedServer
) -> None:
    """By words, and it says so; the run fails by the endpoint, not by the search."""
    indexed.learn(A, *(f"how to fix number {number}" for number in range(20)))
    count = len(embedding_server.requests)
    embedding_server.answer = hanging
    with background(indexed.index) as raised:
        while len(embedding_server.requests) == count:
            time.sleep(0.01)
        began = time.monotonic()
        result = search("bake bread", settings=indexed.settings)
        took_seconds = time.monotonic() - began
        assert not raised
    assert result.hits[0].prompt.startswith("how to bake bread")
    assert "no answer within 1.5 s" in (result.degraded or "")
    assert took_seconds < TIMEOUT_SECONDS + LOCK_SECONDS
    (error,) = raised
    assert isinstance(error, DependencyUnavailableError)


def test_a_search_is_let_in_between_the_requests_of_one_batch(
    indexed: Indexed, embedding_server: ScriptedServer
) -> None:
    """Each is answered soon, all of them together are not; nothing is lost."""
    indexed.learn(A, *(f"how to fix number {number}" for number in range(60)))
    count = len(embedding_server.requests)

    def slowly(request: Request) -> Answer:
        time.sleep(0.15)
        return embeddings_of(request)

    embedding_server.answer = slowly
    with background(indexed.index) as raised:
        while len(embedding_server.requests) == count:
            time.sleep(0.01)
        result = search("bake bread", settings=indexed.settings)
        is_still_writing = len(embedding_server.requests) < count + 30
    assert is_still_writing
    assert result.degraded is None
    assert result.hits
    assert not raised
    assert indexed.compare().agrees
    assert indexed.compare().point_count == 62


def test_a_search_is_let_in_between_two_tries(
    indexed: Indexed, embedding_server: ScriptedServer
) -> None:
    """The endpoint asks for more patience than a search has."""
    indexed.learn(A, "how to sharpen a saw")
    said: list[Answer] = [Answer(429, headers={"Retry-After": "4"})]
    embedding_server.answer = lambda request: (
        said.pop() if said else embeddings_of(request)
    )
    with background(indexed.index) as raised:
        while said:
            time.sleep(0.01)
        result = search("bake bread", settings=indexed.settings)
    assert result.hits
    assert not raised
    assert indexed.compare().agrees


def test_a_search_does_not_hold_the_index_while_it_waits(
    indexed: Indexed, embedding_server: ScriptedServer
) -> None:
    """Its query's meaning comes first."""
    count = len(embedding_server.requests)
    embedding_server.answer = hanging
    breakers = Breakers(indexed.store, indexed.settings)
    with background(lambda: search("bake bread", settings=indexed.settings)) as raised:
        while len(embedding_server.requests) == count:
            time.sleep(0.01)
        began = time.monotonic()
        with index_home(indexed.settings, breakers) as home, home.open("a test"):
            assert time.monotonic() - began < TIMEOUT_SECONDS / 2
    assert not raised


def test_what_others_took_out_meanwhile_does_not_come_back(
    indexed: Indexed, embedding_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked up before they had the index; nothing stray is ever written."""
    indexed.learn(A, "this will be taken back", "and so will this be")
    embedding_server.answer = lambda request: (
        time.sleep(0.4) or embeddings_of(request)  # type: ignore[func-returns-value]
    )
    monkeypatch.setattr(embedded_index, "_LEAST_TURN_SECONDS", 0)
    waiting = [True]
    monkeypatch.setattr(Turns, "someone_waits", lambda _: bool(waiting and armed))
    armed: list[bool] = []
    give_back = Turns.give_back

    def give_back_to_one_who_makes_the_changes(turns: Turns) -> None:
        give_back(turns)
        if waiting and armed:
            waiting.clear()
            indexed.store.clear(stage=STAGE, partition=A)
            changes = index_feed.pending_changes(indexed.store, 10)
            with home_of(indexed).open("another run") as index:
                index.delete(changes.hashes)
            index_feed.drop_changes(indexed.store, changes)

    monkeypatch.setattr(Turns, "give_back", give_back_to_one_who_makes_the_changes)
    steps.listen(lambda step: armed.append(True) if step == "index.before" else None)
    written: list[int] = []
    upsert = embedded_index.EmbeddedIndex.upsert

    def noted(index: Any, examples: Any, **given: Any) -> bool:
        done = upsert(index, examples, **given)
        written.append(index.count())
        return done

    monkeypatch.setattr(embedded_index.EmbeddedIndex, "upsert", noted)
    with pytest.raises(FencedError):
        indexed.index(A)
    assert not waiting
    assert written == [0, 0]


def test_a_turn_that_is_not_given_back_says_nothing_of_the_endpoint(
    tmp_path: Path,
    settings: Settings,
    index_store: Store,
    embedding_server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its breaker, which was half-open or had counted, stays as it was."""
    breakers = Breakers(index_store, settings)
    with Embeddings(settings, breakers, wait_seconds=0.001) as embeddings:
        home = EmbeddedHome(
            tmp_path / "state" / "index", Vectorizer(embeddings), wait_seconds=0.1
        )
        home.create()
        embedding_server.say(Answer(503))
        with pytest.raises(DependencyUnavailableError):
            embeddings.embed(["text"])
        embedding_server.answer = hanging

        def busy(_: object) -> bool:
            raise IndexBusyError("in use")

        monkeypatch.setattr(embedded_index.EmbeddedIndex, "let_others_in", busy)
        with home.open("a test") as index, pytest.raises(IndexBusyError):
            index.upsert([example(1)])
    counts = {each.name: each.failure_count for each in breakers.states()}
    assert counts[EMBEDDINGS] == 3


def home_of(indexed: Indexed) -> EmbeddedHome:
    """Its index, for one who needs no meanings."""
    return _AnyKind(
        indexed.settings.state_dir / "index", Vectorizer(None), wait_seconds=1
    )


class _AnyKind(EmbeddedHome):
    def why_changed(self, identity: IndexIdentity) -> str | None:  # noqa: ARG002
        return None
