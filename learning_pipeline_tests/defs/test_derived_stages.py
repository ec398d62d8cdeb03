"""Examples and index as Dagster's assets: resumed, replayed, behind, catching up."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest

from learning_pipeline.learning.index.searching import search
from learning_pipeline.stages.names import ALL_STAGES, UPSTREAM_OF
from learning_pipeline.store.breakers import breaker_states
from learning_pipeline_tests.defs.test_sensor import Ticker
from learning_pipeline_tests.defs.workbench import (
    REAL_QUALITY,
    Workbench,
    failure_text,
)
from learning_pipeline_tests.learning.index.http_server import (
    Answer,
    Request,
    ScriptedServer,
)

pytestmark = pytest.mark.usefixtures("all_stages")

INDEX = dg.AssetKey("pattern_index")
EXAMPLES = dg.AssetKey("finetuning_examples")
MODEL = "test-model"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """An embeddings endpoint that the settings point to."""
    with ScriptedServer() as server:
        for name, value in {
            "EMBEDDINGS_URL": f"{server.url}/v1/embeddings",
            "EMBEDDINGS_MODEL": MODEL,
            "EMBEDDINGS_TIMEOUT_SECONDS": "0.5",
            "BREAKER_FAILURES": "2",
            "BREAKER_RESET_SECONDS": "0.1",
        }.items():
            monkeypatch.setenv(f"LEARNING_PIPELINE_{name}", value)
        yield server


def embed(request: Request) -> Answer:
    """Vectors of four numbers, told apart by the length of the text."""
    texts = request.json["input"]
    data = [
        {"index": number, "embedding": [1.0, len(text) / 1000, 0.5, 0.25]}
        for number, text in enumerate(texts)
    ]
    return Answer(body={"data": data})


def test_the_real_file_gives_44_examples_and_points(bench: Workbench) -> None:
    """Once: also after a rerun, a replay, and a second file of the same content."""
    key = bench.copy_real_file()
    assert bench.run([key]).success
    assert len(bench.pipeline.example_contents()) == REAL_QUALITY
    assert bench.metadata(key, INDEX)["run_row_count"] == REAL_QUALITY
    assert bench.run([key]).success
    assert bench.metadata(key, INDEX)["run_row_count"] == 0
    assert bench.run([key], replay=True).success
    assert bench.metadata(key, EXAMPLES)["run_row_count"] == REAL_QUALITY
    other = bench.copy_real_file("other.jsonl")
    assert bench.run([key, other]).success
    assert len(bench.pipeline.example_contents()) == REAL_QUALITY
    assert bench.pipeline.index_problems() == []


def test_the_first_hit_for_a_phrase_of_an_example_is_that_example(
    bench: Workbench,
) -> None:
    """Every example of the real file is found by a phrase from its middle."""
    bench.run([bench.copy_real_file()])
    found_first = 0
    for row in bench.pipeline.export():
        if row["quality"]:
            words = row["response"].split()
            middle = len(words) // 2
            phrase = " ".join(words[max(middle - 4, 0) : middle + 4])
            hits = search(phrase, limit=3).hits
            assert any(phrase in " ".join(hit.response.split()) for hit in hits[:1])
            found_first += hits[0].content_hash == row["content_hash"]
    # A few phrases stand in two examples.
    assert found_first >= REAL_QUALITY - 4


def test_stages_can_be_materialised_one_by_one(bench: Workbench) -> None:
    """As one does in the UI; each takes over what is there by then."""
    key = bench.copy_real_file()
    for number, stage in enumerate(ALL_STAGES):
        assert bench.run([key], stages=[stage]).success, number
    assert bench.run([key], stages=list(UPSTREAM_OF)).success
    assert bench.pipeline.index_problems() == []


def test_what_was_read_of_a_file_that_fails_is_learned_from(bench: Workbench) -> None:
    """Dagster leaves out what follows a failed step: the sensor asks for that alone."""
    key = bench.copy_real_file()
    damaged = bench.pipeline.telemetry / f"{key}.1.gz"
    damaged.write_bytes(gzip.compress(b"{}")[:-4])
    ticker = Ticker(bench)
    assert len(ticker.requests()) == 1
    failed = bench.run([key])
    assert "finetuning_examples, pattern_index" in failure_text(failed)
    assert len(bench.pipeline.export()) > REAL_QUALITY
    assert bench.pipeline.example_contents() == []
    # It read of the file, and is asked to go on with it; which fails again.
    assert len(ticker.requests()) == 1
    assert not bench.run([key]).success
    result = ticker.tick()
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or ()
    assert request.asset_selection == [EXAMPLES, INDEX]
    assert bench.run([key], stages=list(UPSTREAM_OF)).success
    assert len(bench.pipeline.example_contents()) == REAL_QUALITY
    assert bench.pipeline.index_problems() == []
    # Then the file itself again, after its pause.
    assert ticker.requests() == []
    ticker.after = timedelta(minutes=2)
    assert len(ticker.requests()) == 1


def test_learning_goes_on_while_the_index_waits_and_it_catches_up(
    bench: Workbench, endpoint: ScriptedServer
) -> None:
    """The run succeeds and says what waits for whom; the sensor asks again."""
    endpoint.answer = lambda _: Answer(503)
    key = bench.copy_real_file()
    ticker = Ticker(bench)
    assert len(ticker.requests()) == 1
    assert bench.run([key]).success
    waits = bench.metadata(key, INDEX)["waits_because"]
    assert "embeddings is not available" in waits
    assert len(bench.pipeline.export()) > REAL_QUALITY
    assert len(bench.pipeline.example_contents()) == REAL_QUALITY
    with bench.store() as store:
        (state,) = [each for each in breaker_states(store) if each.failure_count]
    assert (state.name, state.state) == ("embeddings", "open")
    # Nothing is new in the file; what was committed is to be taken over, in a while.
    assert ticker.requests() == []
    ticker.after = timedelta(minutes=2)
    (result,) = [ticker.tick()]
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or ()
    assert request.asset_selection == [EXAMPLES, INDEX]
    assert bench.run([key], stages=list(UPSTREAM_OF)).success
    assert ticker.requests() == []
    endpoint.answer = embed
    ticker.after = timedelta(minutes=10)
    assert len(ticker.requests()) == 1
    assert bench.run([key], stages=list(UPSTREAM_OF)).success
    assert "waits_because" not in bench.metadata(key, INDEX)
    assert bench.pipeline.index_problems() == []
    assert ticker.requests() == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(503), "503"),
        (Answer(429, headers={"Retry-After": "1"}), "429"),
        (Answer(body=b"<html>nonsense"), "no list of embeddings"),
        (Answer(body={"data": []}), "0 "),
        (Answer(delay_seconds=2.0), "no answer within"),
    ],
    ids=["fails", "too many", "garbage", "too few", "slow"],
)
def test_an_endpoint_that_does_not_do_its_work_is_waited_for(
    bench: Workbench, endpoint: ScriptedServer, answer: Answer, reason: str
) -> None:
    """Whatever it does: the run succeeds, the index waits, nothing is half there."""
    endpoint.answer = lambda _: answer
    key = bench.write("a.jsonl", bench_content())
    assert bench.run([key]).success
    assert reason in bench.metadata(key, INDEX)["waits_because"]
    endpoint.answer = embed
    assert bench.run([key], stages=list(UPSTREAM_OF)).success
    waits = bench.metadata(key, INDEX).get("waits_because")
    if waits is not None:
        # The breaker is open for a moment more.
        assert bench.run([key], stages=list(UPSTREAM_OF)).success
    assert bench.pipeline.index_problems() == []


def bench_content() -> bytes:
    """One event that becomes an example."""
    return (
        b'{"event": "error_resolution", "error_description": "The disk of the build '
        b'machine is full", "solution": "Delete the old images, then try again"}\n'
    )


def test_vectors_of_another_dimension_fail_with_the_remedy(
    bench: Workbench, endpoint: ScriptedServer
) -> None:
    """No waiting helps: the index is to be made anew, or the model set back."""
    endpoint.answer = embed
    key = bench.write("a.jsonl", bench_content())
    assert bench.run([key]).success
    endpoint.answer = lambda request: Answer(
        body={
            "data": [
                {"index": number, "embedding": [1.0, 2.0]}
                for number, _ in enumerate(request.json["input"])
            ]
        }
    )
    bench.append("a.jsonl", bench_content().replace(b"disk", b"memory"))
    result = bench.run([key])
    assert not result.success
    assert "index rebuild" in failure_text(result)
    assert len(bench.pipeline.example_contents()) == 2
