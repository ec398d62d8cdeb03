"""The embeddings endpoint: what it is asked, and what each of its failures means."""

from __future__ import annotations

import gzip
import math
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from learning_pipeline.errors import (
    ConfigurationError,
    DependencyUnavailableError,
    IndexChangedError,
    SearchQueryError,
)
from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index.embeddings import Embeddings
from learning_pipeline.learning.retrying import ATTEMPTS, retry_after_seconds
from learning_pipeline_tests.learning.index.conftest import MakeHome, MakeSettings
from learning_pipeline_tests.learning.index.http_server import (
    Answer,
    Request,
    ScriptedServer,
    embedding,
    embeddings_of,
)
from learning_pipeline_tests.learning.index.samples import example

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
MakeEmbeddings = Callable[..., Embeddings]


@pytest.fixture
def make_embeddings(
    http_server: ScriptedServer, make_settings: MakeSettings, breakers: Breakers
) -> Iterator[MakeEmbeddings]:
    """Makes clients with these settings; a second try follows at once."""
    with ExitStack() as stack:

        def make(**given: Any) -> Embeddings:
            values = {
                "embeddings_url": f"{http_server.url}/v1/embeddings",
                "embeddings_model": "letters",
                "embeddings_timeout_seconds": 5,
                **given,
            }
            client = Embeddings(make_settings(**values), breakers, wait_seconds=0.001)
            return stack.enter_context(client)

        yield make


def one(vector: object, index: object = 0) -> Answer:
    """An answer with one embedding."""
    return Answer(body={"data": [{"index": index, "embedding": vector}]})


def test_it_is_asked_in_batches_with_model_and_key(
    embedding_server: ScriptedServer, make_embeddings: MakeEmbeddings
) -> None:
    """Vectors come back in the order of the texts, whatever that of the answer."""
    client = make_embeddings(
        embeddings_batch=2, embeddings_api_key="sk-secret", embeddings_max_chars=100
    )
    texts = ["alpha", "beta", "g" * 500, "delta", "epsilon"]
    vectors = client.embed(texts)
    assert vectors == [embedding(text[:100]) for text in texts]
    asked = [request.json for request in embedding_server.requests]
    assert [each["input"] for each in asked] == [
        ["alpha", "beta"],
        ["g" * 100, "delta"],
        ["epsilon"],
    ]
    assert {each["model"] for each in asked} == {"letters"}
    (first, *_) = embedding_server.requests
    assert (first.method, first.path) == ("POST", "/v1/embeddings")
    assert first.headers["authorization"] == "Bearer sk-secret"
    assert client.embed([]) == []


def test_without_a_key_none_is_sent(
    embedding_server: ScriptedServer, embeddings: Embeddings
) -> None:
    """A local server wants none."""
    embeddings.embed(["text"])
    assert "authorization" not in embedding_server.requests[0].headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_failure_that_passes_is_tried_again(
    http_server: ScriptedServer, make_embeddings: MakeEmbeddings, status: int
) -> None:
    """The second answer counts."""
    http_server.say(Answer(status), one([1.0, 2.0]))
    assert make_embeddings().embed(["text"]) == [[1.0, 2.0]]
    assert len(http_server.requests) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_a_refusal_is_not_tried_again(
    http_server: ScriptedServer,
    make_embeddings: MakeEmbeddings,
    breakers: Breakers,
    status: int,
) -> None:
    """It is a wrong setting: the error names some, and the breaker stays closed."""
    body = {"error": {"message": "your text: secret", "code": "model_not_found"}}
    http_server.say(Answer(status, body))
    client = make_embeddings(embeddings_api_key="sk-secret")
    for _ in range(7):
        with pytest.raises(ConfigurationError) as caught:
            client.embed(["text"])
    assert len(http_server.requests) == 7
    text = str(caught.value)
    assert str(status) in text
    assert "model_not_found" in text
    assert "LEARNING_PIPELINE_EMBEDDINGS_" in text
    assert "secret" not in text
    assert {state.state for state in breakers.states()} == {"closed"}


GARBAGE = {
    "no JSON": Answer(body=b"<html>It works!</html>"),
    "nothing": Answer(body=b""),
    "no UTF-8": Answer(body=b'{"data": "\xff"}'),
    "another object": Answer(body={"object": "list"}),
    "too few": Answer(body={"data": []}),
    "too many": Answer(
        body={"data": [{"index": n, "embedding": [1.0]} for n in (0, 1)]}
    ),
    "another index": one([1.0, 2.0], index=1),
    "no index": Answer(body={"data": [{"embedding": [1.0]}]}),
    "base64": one("AACAPw=="),
    "text": one(["1.0"]),
    "NaN": Answer(body=b'{"data":[{"index":0,"embedding":[NaN]}]}'),
    "null": one([None]),
    "infinite": Answer(body=b'{"data":[{"index":0,"embedding":[1e999]}]}'),
    "too large": one([1e300, 1e300]),
    "too large to be summed": one([1e154] * 26),
    "too large for 32 bits": one([1e39, 1.0]),
    "too large to be divided by": one([1e20, 1.0]),
    "too small to be divided by": one([1e-25, 0.0]),
    "nested deeply": Answer(
        body=b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b',"data":[]}'
    ),
    "an error nested deeply": Answer(
        500, body=b'{"error":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    ),
    "compressed": Answer(
        body=gzip.compress(one([1.0]).content), headers={"Content-Encoding": "gzip"}
    ),
    "empty": one([]),
    "zero": one([0.0, 0.0]),
    "endless": Answer(body=one([1.0]).content + b" " * (2 * 1024 * 1024)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_a_failure(
    http_server: ScriptedServer,
    make_embeddings: MakeEmbeddings,
    breakers: Breakers,
    name: str,
) -> None:
    """Tried again, and counted by the breaker."""
    http_server.say(GARBAGE[name])
    with pytest.raises(DependencyUnavailableError) as caught:
        make_embeddings().embed(["the text"])
    assert len(http_server.requests) == ATTEMPTS
    assert caught.value.dependency == "embeddings"
    assert "the text" not in str(caught.value)
    counts = {state.name: state.failure_count for state in breakers.states()}
    assert counts["embeddings"] == ATTEMPTS


def test_a_slow_endpoint_is_given_up(
    http_server: ScriptedServer, make_embeddings: MakeEmbeddings
) -> None:
    """After `EMBEDDINGS_TIMEOUT_SECONDS`, and told so."""
    http_server.say(Answer(delay_seconds=0.5))
    client = make_embeddings(embeddings_timeout_seconds=0.05)
    with pytest.raises(DependencyUnavailableError, match=r"no answer within 0\.05 s"):
        client.embed(["text"])


@pytest.mark.parametrize("drip_from", [10, 60], ids=["head", "body"])
def test_an_endpoint_that_drips_is_given_up(
    http_server: ScriptedServer,
    make_embeddings: MakeEmbeddings,
    breakers: Breakers,
    drip_from: int,
) -> None:
    """No pause between two bytes is too long; all of them are. No thread is left."""
    http_server.say(Answer(body=b" " * 2_000, drip_from=drip_from))
    client = make_embeddings(embeddings_timeout_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(DependencyUnavailableError, match=r"no answer within 0\.3 s"):
        client.embed(["text"])
    assert time.monotonic() - began < 5
    counts = {state.name: state.failure_count for state in breakers.states()}
    assert counts["embeddings"] == ATTEMPTS
    deadline = time.monotonic() + 5
    while any(each.name == "within-deadline" for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    http_server.say(one([1.0]))
    assert client.embed(["text"]) == [[1.0]]


def test_a_bomb_is_not_unpacked(
    http_server: ScriptedServer, make_embeddings: MakeEmbeddings
) -> None:
    """It is asked not to be, and what comes all the same is not looked into."""
    bomb = gzip.compress(b" " * 64 * 1024 * 1024)
    http_server.say(Answer(body=bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        with pytest.raises(DependencyUnavailableError, match="is compressed"):
            make_embeddings().embed(["text"])
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert {each.headers["accept-encoding"] for each in http_server.requests} == {
        "identity"
    }


def test_an_endpoint_that_is_down_opens_the_breaker(
    http_server: ScriptedServer, make_embeddings: MakeEmbeddings, breakers: Breakers
) -> None:
    """After five refused connections it is not asked any more."""
    client = make_embeddings()
    http_server.stop()
    for state in ("closed", "open"):
        with pytest.raises(DependencyUnavailableError, match="ConnectError") as caught:
            client.embed(["text"])
        assert caught.value.breaker_state == state
    began = time.monotonic()
    with pytest.raises(DependencyUnavailableError, match="left alone since") as caught:
        client.embed(["text"])
    assert time.monotonic() - began < 0.5
    assert caught.value.retry_at is not None
    assert {state.name: state.failure_count for state in breakers.states()}[
        "embeddings"
    ] == 5


def test_the_server_says_when_to_come_back(
    http_server: ScriptedServer, make_embeddings: MakeEmbeddings
) -> None:
    """`Retry-After` is waited for, unless it asks for more patience than there is."""
    http_server.say(Answer(429, headers={"Retry-After": "1"}), one([1.0]))
    began = time.monotonic()
    assert make_embeddings().embed(["text"]) == [[1.0]]
    assert time.monotonic() - began >= 1
    http_server.say(Answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(DependencyUnavailableError, match="429"):
        make_embeddings().embed(["text"])
    assert len(http_server.requests) == 3


def test_retry_after_is_seconds_or_a_date() -> None:
    """Anything else says nothing."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after_seconds("7") == 7
    assert math.isclose(retry_after_seconds(soon) or 0, 90, abs_tol=3)
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nothing in (None, "", "soon", "-5", "1.5"):
        assert retry_after_seconds(nothing) is None


def test_the_key_is_nowhere_to_be_read(make_settings: MakeSettings) -> None:
    """Not in what prints settings."""
    settings = make_settings(embeddings_api_key="sk-secret", qdrant_api_key="qd-secret")
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings.model_dump())


def test_another_dimension_needs_a_rebuild(
    make_home: MakeHome, embeddings: Embeddings, embedding_server: ScriptedServer
) -> None:
    """To write; a search goes by words meanwhile, and says why."""
    home = make_home(embeddings)
    home.create()
    with home.open("a test") as index:
        index.upsert([example(1), example(2)])
        embedding_server.answer = _of_three_numbers
        with pytest.raises(IndexChangedError, match="index rebuild") as caught:
            index.upsert([example(3)])
        assert "3 numbers now" in str(caught.value)
        assert index.count() == 2
        found = index.search("number1")
        with pytest.raises(SearchQueryError, match="3 numbers now"):
            index.search("!?")
    assert len(found.hits) == 1
    assert "by words only" in (found.degraded or "")
    assert "3 numbers now" in (found.degraded or "")


@pytest.mark.parametrize("status", [302, 400, 401, 404])
def test_a_search_goes_by_words_when_the_endpoint_refuses(
    make_home: MakeHome,
    embeddings: Embeddings,
    embedding_server: ScriptedServer,
    status: int,
) -> None:
    """The index by words is whole, whatever is wrong with the settings."""
    home = make_home(embeddings)
    home.create()
    with home.open("a test") as index:
        index.upsert([example(1), example(2)])
        embedding_server.say(Answer(status))
        found = index.search("number1")
    assert len(found.hits) == 1
    assert f"by words only: the embeddings endpoint refuses: it answered {status}" in (
        found.degraded or ""
    )


def test_a_query_is_embedded_with_one_try(
    make_home: MakeHome, embeddings: Embeddings, embedding_server: ScriptedServer
) -> None:
    """Somebody waits for it."""
    home = make_home(embeddings)
    embedding_server.say(Answer(503))
    assert home.vectors_of("words").dense is None
    assert len(embedding_server.requests) == 1


def test_without_the_endpoint_a_search_goes_by_words_and_says_so(
    make_home: MakeHome, embeddings: Embeddings, embedding_server: ScriptedServer
) -> None:
    """Never silently; writing needs it, and fails without having written anything."""
    home = make_home(embeddings)
    home.create()
    with home.open("a test") as index:
        index.upsert([example(1), example(2)])
        whole = index.search("number1")
        embedding_server.say(Answer(503))
        by_words = index.search("number1")
        with pytest.raises(DependencyUnavailableError, match="503"):
            index.upsert([example(3)])
        assert index.count() == 2
    assert whole.degraded is None
    assert len(whole.hits) == 2
    assert by_words.degraded is not None
    assert "by words only" in by_words.degraded
    assert len(by_words.hits) == 1


def _of_three_numbers(request: Request) -> Answer:
    answer = embeddings_of(request)
    for each in answer.body["data"]:
        each["embedding"] = each["embedding"][:3]
        each["embedding"][0] += 1
    return answer
