"""The job `retain` in Dagster: dry by default, and a table of what became of files."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from learning_pipeline.defs import build_definitions
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import Workbench
from learning_pipeline_tests.stages.rotated import age


@pytest.fixture
def rotated(bench: Workbench) -> Workbench:
    """A partition with a generation that was rotated away forty days ago."""
    key = bench.write("a.jsonl", b"".join(generate_lines(20, seed=1)))
    assert bench.run([key]).success
    path = bench.pipeline.telemetry / "a.jsonl"
    path.rename(path.with_name("a.jsonl.1"))
    age(path.with_name("a.jsonl.1"), 40)
    bench.write("a.jsonl", b"".join(generate_lines(10, seed=2)))
    assert bench.run([key]).success
    return bench


def names(bench: Workbench) -> list[str]:
    """Everything in the telemetry root."""
    return sorted(path.name for path in bench.pipeline.telemetry.iterdir())


def run_retain(bench: Workbench, **config: Any) -> dg.ExecuteInProcessResult:
    """The job, as the project's definitions have it."""
    return (
        build_definitions()
        .resolve_job_def("retain")
        .execute_in_process(
            instance=bench.instance,
            run_config={
                "ops": {"retain_files": {"config": config}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=False,
        )
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the op has to say."""
    [event] = [each for each in result.all_events if each.is_successful_output]
    return dict(event.step_output_data.metadata)


def test_the_job_only_says_what_it_would_do(rotated: Workbench) -> None:
    """Without a config."""
    result = run_retain(rotated)
    assert result.success
    found = metadata(result)
    assert found["executed"].value is False
    [row] = found["files"].records
    assert row.data["file"] == "a.jsonl.1"
    assert row.data["outcome"] == "to compress"
    assert names(rotated) == ["a.jsonl", "a.jsonl.1"]


def test_the_job_does_it_when_told_to(rotated: Workbench) -> None:
    """With the action and the age of its config."""
    config = {"execute": True, "action": "delete", "older_than_days": 50.0}
    found = metadata(run_retain(rotated, **config))
    assert (found["kept_count"].value, found["older_than_days"].value) == (1, 50.0)
    found = metadata(run_retain(rotated, **config | {"older_than_days": 30.0}))
    assert found["files"].records[0].data["outcome"] == "deleted"
    assert found["freed_bytes"].value > 0
    assert names(rotated) == ["a.jsonl"]


def test_a_file_that_fails_makes_the_job_fail(rotated: Workbench) -> None:
    """Named in the message; the others go."""
    damaged = rotated.pipeline.telemetry / "a.jsonl.0.gz"
    damaged.write_bytes(b"no gzip")
    age(damaged, 40)
    result = run_retain(rotated, execute=True, action="delete")
    assert not result.success
    [failure] = [each for each in result.all_events if each.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert "a.jsonl.0.gz" in str(data.description)
    assert names(rotated) == ["a.jsonl", "a.jsonl.0.gz"]


def test_the_schedule_is_off_and_would_execute(rotated: Workbench) -> None:
    """Once a day."""
    schedule = build_definitions().resolve_schedule_def("retain_daily")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    context = dg.build_schedule_context(instance=rotated.instance)
    [request] = schedule.evaluate_tick(context).run_requests or []
    assert request.run_config["ops"]["retain_files"]["config"]["execute"] is True
