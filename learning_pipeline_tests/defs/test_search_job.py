"""The job `search`: a table of examples, or a clear word on what is wrong."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from learning_pipeline.defs import build_definitions
from learning_pipeline.defs.search import EXAMPLE_QUERY, EXCERPT_CHARS
from learning_pipeline_tests.defs.workbench import Workbench, failure_text

pytestmark = pytest.mark.usefixtures("all_stages")

JOB = "search"
NO_LOGS = {"console": {"config": {"log_level": "CRITICAL"}}}


def search(bench: Workbench, **config: Any) -> dg.ExecuteInProcessResult:
    """The job, as the project's definitions have it."""
    return (
        build_definitions()
        .resolve_job_def(JOB)
        .execute_in_process(
            instance=bench.instance,
            run_config={
                "ops": {"search_examples": {"config": config}},
                "loggers": NO_LOGS,
            },
            raise_on_error=False,
        )
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the op has to say."""
    assert result.success, failure_text(result)
    [event] = [each for each in result.all_events if each.is_successful_output]
    return dict(event.step_output_data.metadata)


def found(result: dg.ExecuteInProcessResult) -> list[dict[str, Any]]:
    """The rows of its table."""
    told = metadata(result)
    rows = [dict(record.data) for record in told["results"].records]
    assert told["result_count"].value == len(rows)
    return rows


@pytest.fixture
def learned(bench: Workbench) -> Workbench:
    """The real file, learned and indexed."""
    result = bench.run([bench.copy_real_file()])
    assert result.success, failure_text(result)
    return bench


def test_the_result_is_a_table_best_first(learned: Workbench) -> None:
    """With excerpts, and where each comes from."""
    rows = found(search(learned, query="priority-ranking debate", limit=3))
    assert 1 <= len(rows) <= 3
    first = rows[0]
    assert "priority-ranking debate" in first["prompt"]
    assert first["about"] == "agent_step_complete, 2026-05-30 21:33"
    assert first["source"].startswith("real.jsonl, generation 0, byte ")
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert all(len(row["response"]) <= EXCERPT_CHARS for row in rows)
    assert all("\n" not in row["response"] for row in rows)


def test_it_looks_only_among_what_the_config_says(learned: Workbench) -> None:
    """Kinds, files and times; UTC unless a zone is stated."""
    wide = {"query": "debate position", "limit": 50}
    every = found(search(learned, **wide))
    assert len(every) > 1
    for among, count in (
        ({"kinds": ["agent_step_complete"]}, len(every)),
        ({"kinds": ["task_completed"]}, 0),
        ({"partitions": ["real.jsonl"]}, len(every)),
        ({"partitions": ["other.jsonl"]}, 0),
        ({"backends": ["nobody"]}, 0),
        ({"until": "2026-05-28"}, 0),
        ({"since": "2026-05-28", "until": "2027-01-01T00:00+02:00"}, len(every)),
    ):
        assert len(found(search(learned, **wide, **among))) == count, among


BAD_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit is 0: give 1 to 200"),
    ({"limit": 100_000}, "give 1 to 200"),
    ({"since": "yesterday"}, "since: 'yesterday' is no date"),
    ({"until": "2026-13-01"}, "until: "),
    ({"since": "2026-02-01", "until": "2026-01-01"}, "since must be before until"),
    ({"kinds": ["k"] * 1_000}, "kinds: give at most 100"),
]


def assert_fails_in_a_sentence(result: dg.ExecuteInProcessResult, said: str) -> None:
    """That says what to give instead; no error of ours stands behind it."""
    assert not result.success
    [failure] = [each for each in result.all_events if each.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    assert said in (told.description or "")
    error = failure.step_failure_data.error
    assert error is not None
    assert error.cause is None
    assert "learning_pipeline.errors" not in error.to_string()


def test_a_config_that_makes_no_sense_fails_in_a_sentence(bench: Workbench) -> None:
    """Before anything is opened."""
    for config, said in BAD_CONFIGS:
        assert_fails_in_a_sentence(search(bench, query="x", **config), said)
    assert not bench.pipeline.state.exists()


def test_a_query_without_a_word_fails_in_a_sentence(learned: Workbench) -> None:
    """There is nothing in it to search for."""
    assert_fails_in_a_sentence(search(learned, query="  "), "the query is empty")


def test_a_config_of_other_types_is_refused_before_the_run(bench: Workbench) -> None:
    """By Dagster, which names the entry; a query is needed."""
    for config in ({}, {"query": "x", "limit": "many"}, {"query": "x", "colour": 1}):
        with pytest.raises(dg.DagsterInvalidConfigError, match="config"):
            search(bench, **config)


def test_before_anything_is_indexed_a_note_says_so(bench: Workbench) -> None:
    """An empty table, no failure."""
    result = search(bench, query="anything")
    assert found(result) == []
    assert "nothing is indexed yet" in metadata(result)["note"].value


def test_the_launchpad_shows_a_config_that_can_be_launched(
    learned: Workbench,
) -> None:
    """As it stands there; and a run that fails is not tried again by itself."""
    job = build_definitions().resolve_job_def(JOB)
    shown = job.run_config
    assert shown is not None
    config = shown["ops"]["search_examples"]["config"]
    assert config["query"] == EXAMPLE_QUERY
    assert set(config) == {
        *("query", "limit", "kinds", "backends", "partitions", "since", "until"),
    }
    assert job.tags["dagster/max_retries"] == "0"
    result = job.execute_in_process(
        instance=learned.instance, run_config={**shown, "loggers": NO_LOGS}
    )
    assert result.success
