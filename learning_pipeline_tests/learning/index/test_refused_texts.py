"""One text that the endpoint refuses does not keep the others from being indexed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.index.embeddings import Embeddings
from learning_pipeline.learning.index.refused_texts import HARMLESS, TolerantEmbedding
from learning_pipeline_tests.learning.index.conftest import MakeHome
from learning_pipeline_tests.learning.index.http_server import (
    Answer,
    Request,
    ScriptedServer,
    embedding,
    embeddings_of,
)
from learning_pipeline_tests.learning.index.samples import example

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
TEXTS = [f"text number {number}" for number in range(40)]


def refusing(
    status: int, is_refused: Callable[[list[str]], bool]
) -> Callable[[Request], Answer]:
    """Refuses a request with such texts as a whole."""

    def answer(request: Request) -> Answer:
        if is_refused(request.json["input"]):
            return Answer(status, {"error": {"message": "no", "code": "too_long"}})
        return embeddings_of(request)

    return answer


def embed(embeddings: Embeddings, texts: list[str]) -> list[Any]:
    """Embed them, and go without what is refused."""
    return TolerantEmbedding(embeddings, None).embed(texts)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_text_is_left_out_of_its_batch(
    http_server: ScriptedServer,
    embeddings: Embeddings,
    status: int,
) -> None:
    """All others have their meaning; the log says how many have none, not which."""
    http_server.answer = refusing(
        status, lambda texts: any("POISON" in text for text in texts)
    )
    texts = [*TEXTS]
    texts[17] = "POISON secret"
    with capture_logs() as logged:
        vectors = embed(embeddings, texts)
    assert vectors[17] is None
    others = [*range(17), *range(18, 40)]
    assert [vectors[n] for n in others] == [embedding(texts[n]) for n in others]
    assert len(http_server.requests) < 20
    assert logged == [
        {
            "event": "embeddings_refused_texts",
            "log_level": "warning",
            "shortened_count": 0,
            "by_words_only_count": 1,
        }
    ]


def test_a_text_that_is_too_long_is_shortened(
    http_server: ScriptedServer,
    embeddings: Embeddings,
) -> None:
    """Its beginning says more than nothing."""
    http_server.answer = refusing(
        400, lambda texts: any(len(text) > 300 for text in texts)
    )
    with capture_logs() as logged:
        vectors = embed(embeddings, ["short", "ab" * 500, "short too"])
    assert vectors == [
        embedding("short"),
        embedding("ab" * 125),
        embedding("short too"),
    ]
    assert [each["shortened_count"] for each in logged] == [1]


def test_a_batch_that_is_too_large_is_halved(
    http_server: ScriptedServer, embeddings: Embeddings
) -> None:
    """Nothing is lost by it, and nothing logged as refused."""
    http_server.answer = refusing(413, lambda texts: len(texts) > 5)
    assert embed(embeddings, TEXTS) == [embedding(text) for text in TEXTS]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
def test_an_endpoint_that_refuses_everything_is_a_wrong_setting(
    http_server: ScriptedServer, embeddings: Embeddings, status: int
) -> None:
    """Such as a wrong model's name: no index by words only, no storm of requests."""
    http_server.answer = refusing(status, lambda _: True)
    with pytest.raises(ConfigurationError, match="EMBEDDINGS_") as caught:
        embed(embeddings, TEXTS)
    assert str(status) in str(caught.value)
    assert len(http_server.requests) <= 2


def test_an_endpoint_that_changes_its_mind_is_a_wrong_setting(
    http_server: ScriptedServer, embeddings: Embeddings
) -> None:
    """The model is taken away in the middle of a run."""
    http_server.answer = refusing(422, lambda texts: "text number 20" in texts[0:40])
    embed(embeddings, TEXTS[:16])
    http_server.answer = refusing(422, lambda _: True)
    with pytest.raises(ConfigurationError):
        embed(embeddings, TEXTS[16:])


def test_a_point_without_a_meaning_is_found_by_its_words(
    make_home: MakeHome, http_server: ScriptedServer, embeddings: Embeddings
) -> None:
    """In both engines; written again once it is taken, it has one."""

    def is_refused(texts: list[str]) -> bool:
        return any("number3" in text for text in texts)

    http_server.answer = refusing(400, is_refused)
    examples = [example(number) for number in range(6)]
    home = make_home(embeddings)
    home.create()
    with home.open("a test") as index:
        index.upsert(examples)
        index.flush()
    with home.open("a test") as index:
        assert index.count() == 6
        assert {place.content_hash for place in index.places()} == {
            each.content_hash for each in examples
        }
        http_server.answer = embeddings_of
        found = index.search("number3")
        assert found.degraded is None
        assert found.hits[0].content_hash == examples[3].content_hash.hex()
        assert len(found.hits) == 6
        assert len(index.search("zebra quartz").hits) == 5
        index.upsert(examples)
        assert len(index.search("zebra quartz").hits) == 6


def test_what_is_asked_to_tell_is_harmless() -> None:
    """No limit of characters or tokens refuses it."""
    assert HARMLESS.isalpha()
    assert len(HARMLESS) < 20
