"""`metrics` and `metrics custom`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from learning_pipeline.cli.metrics import metrics
from learning_pipeline.learning.metrics import aggregation
from learning_pipeline.learning.metrics.custom import record_metric
from learning_pipeline.store import Store
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.learning.event_lines import REAL_LINES, line
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


@pytest.mark.parametrize("option", [("--since", "2026-05-02"), ("--json",)])
def test_an_option_before_custom_is_not_ignored(
    measured: Pipeline, option: tuple[str, ...]
) -> None:
    """It says where the option belongs."""
    completed = run(measured, "metrics", *option, "custom")
    assert (completed.code, completed.output) == (2, "")
    assert f"metrics custom {option[0]}" in completed.errors


@pytest.mark.parametrize("command", [("metrics",), ("metrics", "custom")])
def test_a_time_that_ends_before_it_begins_is_bad_usage(
    measured: Pipeline, command: tuple[str, ...]
) -> None:
    """As for `search`."""
    times = ("--since", "2026-05-02", "--until", "2026-05-02T01:00+02:00")
    completed = run(measured, *command, *times)
    assert (completed.code, completed.output) == (2, "")
    assert "--since must be before --until" in completed.errors


@pytest.fixture
def many_backends(tmp_path: Path) -> Pipeline:
    """Three backends, of which one calls itself `(none)`, and one event without."""
    made = Pipeline(tmp_path)
    made.state.mkdir()
    lines = [
        line(event="local_inference", latency_ms=7, backend=backend)
        for backend in ("a", "a", "b", "(none)", None)
    ]
    write_lines(made.telemetry, "a.jsonl", lines)
    with Store(made.store_url) as store:
        learn(store, made.telemetry, "a.jsonl", stages="performance_metrics")
    return made


def test_a_backend_that_is_called_none_is_told_from_none(
    many_backends: Pipeline,
) -> None:
    """By quotation marks; in JSON the one is null."""
    table = run(many_backends, "metrics", "--by", "backend").output.splitlines()
    names = [row.split()[0] for row in table[1:]]
    assert names == ['"(none)"', "a", "b", "(none)"]
    document = run(many_backends, "metrics", "--by", "backend", "--json").document
    assert [each["backend"] for each in document] == ["(none)", "a", "b", None]


@pytest.mark.parametrize(("most", "is_said"), [(3, True), (4, False)])
def test_groups_that_are_not_told_apart_are_said(
    many_backends: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    is_said: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """On standard error, and what to do; JSON stays JSON."""
    for name, value in many_backends.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aggregation, "MAX_GROUPS", most)
    for options in ((), ("--json",)):
        result = CliRunner().invoke(metrics, ["--by", "backend", *options])
        assert result.exit_code == 0
        assert ("(other)" in result.stdout) is is_said
        assert (f"more than {most} groups" in result.stderr) is is_said
        assert ("--since" in result.stderr) is is_said


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
