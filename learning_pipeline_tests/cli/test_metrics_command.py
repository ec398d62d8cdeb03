"""`metrics` and `metrics custom`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from learning_pipeline.learning.metrics.custom import record_metric
from learning_pipeline.store import Store
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.learning.event_lines import REAL_LINES
from learning_pipeline_tests.learning.learned import learn, write_lines
from learning_pipeline_tests.pipeline import Pipeline


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The real file, read by the stage; nothing here changes it."""
    made = Pipeline(tmp_path_factory.mktemp("measured"))
    made.state.mkdir()
    write_lines(made.telemetry, "hybrid-events.jsonl", REAL_LINES)
    with Store(made.store_url) as store:
        learn(store, made.telemetry, "hybrid-events.jsonl")
        for number in (1, 2):
            at = datetime(2026, 5, number, tzinfo=UTC)
            record_metric(
                "score", number / 4, labels={"run": number}, at=at, store=store
            )
    return made


def test_a_table_shows_a_line_per_group(measured: Pipeline) -> None:
    """With figures for people; a backend that none states is said."""
    completed = run(measured, "metrics", "--by", "backend")
    assert completed.code == 0
    head, first, second = completed.output.splitlines()
    assert head.split()[:2] == ["backend", "events"]
    assert first.split() == [
        *("apparmor-fix-agent", "11", "100.0%", "474", "4", "5,168", "0", "0"),
    ]
    assert second.split()[:3] == ["(none)", "35", "100.0%"]
    assert second.split()[-2:] == ["15,585", "18,347"]


def test_json_is_a_list_of_groups(measured: Pipeline) -> None:
    """By day, kind and backend unless asked otherwise."""
    document = run(measured, "metrics", "--json").document
    assert len(document) == 16
    assert list(document[0])[:4] == ["day", "kind", "backend", "event_count"]
    assert sum(each["event_count"] for each in document) == 46


def test_events_are_chosen(measured: Pipeline) -> None:
    """By kind, backend, file and time."""
    options = (
        *("--by", "kind", "--kind", "agent_step_complete", "--backend", "(none)"),
        *("--partition", "hybrid-events.jsonl", "--since", "2026-05-28"),
        *("--until", "2026-05-29T00:00Z", "--json"),
    )
    (only,) = run(measured, "metrics", *options).document
    assert (only["kind"], only["event_count"]) == ("agent_step_complete", 7)


def test_nothing_measured_is_said(pipeline: Pipeline) -> None:
    """Nothing is created by looking."""
    completed = run(pipeline, "metrics")
    assert (completed.code, completed.output) == (0, "Nothing was measured.\n")
    assert run(pipeline, "metrics", "--json").document == []
    assert run(pipeline, "metrics", "custom").output == "No custom metrics.\n"
    assert not pipeline.state.exists()


def test_custom_metrics_are_listed(measured: Pipeline) -> None:
    """By time, of a name and range."""
    table = run(measured, "metrics", "custom").output.splitlines()
    assert [line.split()[1:3] for line in table[1:]] == [
        ["score", "0.25"],
        ["score", "0.5"],
    ]
    options = ("--name", "score", "--since", "2026-05-02", "--json")
    (only,) = run(measured, "metrics", "custom", *options).document
    assert (only["value"], only["labels"]) == (0.5, '{"run":"2"}')
    assert run(measured, "metrics", "custom", "--name", "x", "--json").document == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("metrics", "--by", "hour"),
        ("metrics", "--since", "yesterday"),
        ("metrics", "nothing"),
        ("metrics", "custom", "--until", "2026-13-01"),
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2(measured: Pipeline, arguments: tuple[str, ...]) -> None:
    """A message on standard error."""
    completed = run(measured, *arguments)
    assert (completed.code, completed.output) == (2, "")
    assert "Error" in completed.errors


def test_metrics_are_of_the_store_that_is_set(
    measured: Pipeline, tmp_path: Path
) -> None:
    """Another state directory has none."""
    other = {"LEARNING_PIPELINE_STATE_DIR": str(tmp_path / "other")}
    variables = {**other, "LEARNING_PIPELINE_TELEMETRY_DIR": str(tmp_path)}
    assert "Nothing" in run(measured, "metrics", environment=variables).output
