"""The calls to a Qdrant server, over real HTTP, and what its failures mean."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from learning_pipeline.errors import (
    ConfigurationError,
    DependencyUnavailableError,
    IndexForeignError,
    IndexMissingError,
)
from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index import index_home
from learning_pipeline.learning.index.server import ServerHome
from learning_pipeline.learning.index.server_calls import connect
from learning_pipeline.learning.index.vectors import Vectorizer
from learning_pipeline.learning.retrying import ATTEMPTS
from learning_pipeline.settings import Settings
from learning_pipeline_tests.learning.index.conftest import MakeSettings
from learning_pipeline_tests.learning.index.http_server import (
    Answer,
    Request,
    ScriptedServer,
)
from learning_pipeline_tests.learning.index.samples import example

Metadata = dict[str, Any]
KNOWN: Metadata = {
    "learning_pipeline": {"format": 1, "index_id": "abc", "vectors": "bm25:1"}
}


def qdrant(metadata: Metadata | None) -> Callable[[Request], Answer]:
    """Answers like a server that has our collection, with this metadata."""

    def ok(result: object) -> Answer:
        return Answer(body={"result": result, "status": "ok", "time": 0.001})

    done = {"operation_id": 1, "status": "completed"}
    results = {
        "exists": {"exists": metadata is not None},
        "count": {"count": 3},
        "query": {"points": []},
        "scroll": {"points": [], "next_page_offset": None},
        "points": done,
        "delete": done,
        "index": done,
    }

    def answer(request: Request) -> Answer:
        last = request.path.partition("?")[0].rpartition("/")[2]
        if last in results:
            return ok(results[last])
        return ok(information(metadata) if request.method == "GET" else True)

    return answer


def is_making(request: Request) -> bool:
    """Whether it asks for the collection to be made."""
    path = request.path.partition("?")[0]
    return request.method == "PUT" and path == "/collections/learning_pipeline"


def information(metadata: Metadata | None) -> dict[str, Any]:
    """What a server says of a collection."""
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "points_count": 3,
        "config": {
            "params": {"vectors": {}},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "metadata": metadata,
        },
        "payload_schema": {},
    }


@pytest.fixture
def settings(http_server: ScriptedServer, make_settings: MakeSettings) -> Settings:
    """Settings that name the server."""
    return make_settings(
        qdrant_url=http_server.url,
        qdrant_api_key="qd-secret",
        qdrant_timeout_seconds=1,
        breaker_reset_seconds=3600,
    )


@pytest.fixture
def home(settings: Settings, breakers: Breakers) -> ServerHome:
    """The index there; a second try follows at once."""
    return ServerHome(
        settings,
        Vectorizer(None),
        breakers,
        lambda: connect(settings),
        wait_seconds=0.001,
    )


def test_every_call_carries_the_key_and_waits(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """Writes are acknowledged when they are done, and reads ask for what is needed."""
    http_server.answer = qdrant(KNOWN)
    with home.open("a test") as index:
        index.upsert([example(1)])
        index.delete([example(2).content_hash])
        index.flush()
        assert index.count() == 3
        assert list(index.places()) == []
        assert index.search("words").hits == ()
    requests = http_server.requests
    assert {each.headers["api-key"] for each in requests} == {"qd-secret"}
    called = [(each.method, each.path) for each in requests]
    base = "/collections/learning_pipeline"
    assert called == [
        ("GET", f"{base}/exists"),
        ("GET", base),
        ("PUT", f"{base}/points?wait=true"),
        ("POST", f"{base}/points/delete?wait=true"),
        ("POST", f"{base}/points/count"),
        ("POST", f"{base}/points/scroll"),
        ("POST", f"{base}/points/query"),
    ]
    (point,) = requests[2].json["points"]
    assert point["id"].replace("-", "") == example(1).content_hash.hex()[:32]
    assert point["payload"]["content_hash"] == example(1).content_hash.hex()
    assert point["vector"]["bm25"]["indices"]
    assert requests[6].json["using"] == "bm25"


def test_the_collection_is_made_with_its_name_in_it(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """Sparse vectors with IDF, the identity as metadata, indexes for the filters."""
    stored: Metadata = {}

    def answer(request: Request) -> Answer:
        if is_making(request):
            stored.update(request.json["metadata"])
        return qdrant(stored or None)(request)

    http_server.answer = answer
    identity = home.create()
    puts = [each for each in http_server.requests if each.method == "PUT"]
    assert puts[0].json["sparse_vectors"] == {"bm25": {"modifier": "idf"}}
    assert stored["learning_pipeline"]["index_id"] == identity.index_id
    fields = {each.json["field_name"]: each.json["field_schema"] for each in puts[1:]}
    assert fields == {
        "kind": "keyword",
        "backend": "keyword",
        "partition": "keyword",
        "timestamp": "datetime",
    }


def test_a_lost_answer_to_the_making_is_made_good(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """The second try finds the collection there, and that it is the same."""
    stored: Metadata = {}

    def answer(request: Request) -> Answer:
        if is_making(request):
            if stored:
                return Answer(409, {"status": {"error": "already exists"}})
            stored.update(request.json["metadata"])
            return Answer(500)
        return qdrant(stored or None)(request)

    http_server.answer = answer
    assert home.create() == home.identity()


def test_a_server_that_keeps_no_metadata_is_too_old(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """Before 1.16: it could not be told later whose collection it is."""
    made = False

    def answer(request: Request) -> Answer:
        nonlocal made
        made |= request.method == "PUT"
        return qdrant({} if made else None)(request)

    http_server.answer = answer
    with pytest.raises(ConfigurationError, match=r"1\.16"):
        home.create()


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_a_collection_of_another_is_not_touched(
    tmp_path: Path, settings: Settings, breakers: Breakers
) -> None:
    """Neither opened nor written nor dropped nor made over."""

    def local() -> QdrantClient:
        return QdrantClient(path=str(tmp_path / "theirs"))

    client = local()
    client.create_collection(
        "learning_pipeline",
        vectors_config=models.VectorParams(size=2, distance=models.Distance.COSINE),
        metadata={"owner": "somebody"},
    )
    client.close()
    home = ServerHome(settings, Vectorizer(None), breakers, local)
    assert home.exists()
    for action in (
        home.identity,
        home.create,
        home.drop,
        home.open("a test").__enter__,
    ):
        with pytest.raises(IndexForeignError, match="QDRANT_COLLECTION"):
            action()
    client = local()
    assert client.get_collection("learning_pipeline").config.metadata == {
        "owner": "somebody"
    }
    client.close()


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_failure_is_tried_again_and_counted(
    http_server: ScriptedServer, home: ServerHome, breakers: Breakers, status: int
) -> None:
    """Three times, then it is told; enough of them open the breaker."""
    http_server.say(Answer(status, {"status": {"error": "text: secret"}}))
    with pytest.raises(DependencyUnavailableError, match=str(status)) as caught:
        home.identity()
    assert len(http_server.requests) == ATTEMPTS
    assert "secret" not in str(caught.value)
    assert caught.value.dependency == "qdrant"
    with pytest.raises(DependencyUnavailableError, match="left alone since"):
        home.identity()
    assert len(http_server.requests) == 5
    assert {state.name: state.state for state in breakers.states()}["qdrant"] == "open"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_told_at_once(
    http_server: ScriptedServer, home: ServerHome, breakers: Breakers, status: int
) -> None:
    """It is a wrong setting: the breaker stays closed."""
    http_server.say(Answer(status, {"status": {"error": "text: secret"}}))
    for _ in range(6):
        with pytest.raises(ConfigurationError) as caught:
            home.identity()
    assert len(http_server.requests) == 6
    assert "secret" not in str(caught.value)
    if status in {401, 403}:
        assert "LEARNING_PIPELINE_QDRANT_API_KEY" in str(caught.value)
    if status == 404:
        assert "no Qdrant server" in str(caught.value)
        assert "LEARNING_PIPELINE_QDRANT_URL" in str(caught.value)
        assert "index rebuild" not in str(caught.value)
    assert {state.state for state in breakers.states()} == {"closed"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>It works!</html>"),
        Answer(body={"result": {"exists": "perhaps"}}),
        Answer(429, headers={"Retry-After": "soon"}),
        Answer(body={}),
        Answer(body=b"null"),
        Answer(body={"result": None}),
        Answer(body=b"[" * 200_000 + b"]" * 200_000),
    ],
    ids=[
        "no JSON",
        "another object",
        "no seconds",
        "empty",
        "null",
        "no result",
        "nested deeply",
    ],
)
def test_garbage_is_a_failure(
    http_server: ScriptedServer, home: ServerHome, answer: Answer
) -> None:
    """It is no Qdrant server, or a broken one."""
    http_server.say(answer)
    with pytest.raises(DependencyUnavailableError):
        home.identity()
    assert len(http_server.requests) == ATTEMPTS


def test_garbage_in_any_answer_is_a_failure(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """Also once it has shown that it is a Qdrant server."""
    http_server.answer = qdrant(KNOWN)
    with home.open("a test") as index:
        for action in (
            index.count,
            lambda: list(index.places()),
            lambda: index.search("words"),
        ):
            http_server.say(Answer(body={}))
            with pytest.raises(DependencyUnavailableError):
                action()


def test_a_collection_that_is_gone_is_told(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """Removed while it was open."""
    http_server.answer = qdrant(KNOWN)
    with home.open("a test") as index:
        http_server.say(Answer(404))
        with pytest.raises(IndexMissingError, match="index rebuild"):
            index.count()


def test_a_server_that_drips_is_given_up(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """`QDRANT_TIMEOUT_SECONDS` is for all of a request."""
    http_server.say(Answer(body=b" " * 2_000, drip_from=60))
    began = time.monotonic()
    with pytest.raises(DependencyUnavailableError, match="no answer within 1 s"):
        home.identity()
    assert time.monotonic() - began < 10


def test_the_server_says_when_to_come_back(
    http_server: ScriptedServer, home: ServerHome
) -> None:
    """With more patience than there is, it is not asked again."""
    http_server.say(Answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(DependencyUnavailableError, match="429"):
        home.identity()
    assert len(http_server.requests) == 1


def test_a_server_that_is_down_or_slow_is_told(
    http_server: ScriptedServer,
    home: ServerHome,
    make_settings: MakeSettings,
    breakers: Breakers,
) -> None:
    """Each with what is wrong; the first failure may be one too many."""
    http_server.say(Answer(delay_seconds=1.3))
    with pytest.raises(DependencyUnavailableError, match="no answer within 1 s"):
        home.identity()
    nowhere = make_settings(qdrant_url="http://127.0.0.1:9", breaker_failures=1)
    with (
        index_home(nowhere, Breakers(breakers._store, nowhere)) as down,
        pytest.raises(DependencyUnavailableError, match="ConnectError"),
    ):
        down.identity()


def test_a_key_over_plain_http_is_no_warning(settings: Settings) -> None:
    """The key does not show anywhere either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = connect(settings)
    client.close()
    assert "secret" not in repr(settings)
