"""A user's own asset on the same IO manager: exactly once in ten lines."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from learning_pipeline import steps
from learning_pipeline.defs import build_definitions, telemetry_files
from learning_pipeline.defs.partitions import add_keys
from learning_pipeline.errors import StoreUnavailableError
from learning_pipeline.stages import StageOutput, TelemetryStream
from learning_pipeline.store import Store, stage_table
from learning_pipeline_tests.defs.workbench import Workbench, failure_text

tool_calls_table = stage_table(
    "tool_calls", sa.Column("tool", sa.Text), sa.Column("seconds", sa.Float)
)
LINES = [b'{"event":"tool","name":"t%d","seconds":%d.5}\n' % (n, n) for n in range(100)]
Rows = Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]] | None]


def tools(event: Mapping[str, Any]) -> Iterable[Mapping[str, Any]] | None:
    """One row per tool call; other events give none."""
    if event.get("event") != "tool":
        return None
    return [{"tool": event["name"], "seconds": event["seconds"]}]


def stage(
    bench: Workbench,
    function: Rows = tools,
    table: sa.Table = tool_calls_table,
    retry_policy: dg.RetryPolicy | None = None,
) -> Workbench:
    """The bench with a job of the user's asset."""

    @dg.asset(
        partitions_def=telemetry_files,
        io_manager_key="checkpoint_io_manager",
        retry_policy=retry_policy,
    )
    def tool_calls(telemetry_file: TelemetryStream) -> StageOutput:
        return telemetry_file.rows(function, into=table)

    return with_asset(bench, tool_calls)


def rows(bench: Workbench) -> list[tuple[Any, ...]]:
    """What the user's table holds, in order."""
    with sa.create_engine(bench.pipeline.store_url).connect() as connection:
        order = (tool_calls_table.c.offset, tool_calls_table.c.ordinal)
        found = connection.execute(sa.select(tool_calls_table).order_by(*order))
        return [tuple(row)[1:] for row in found]


def expected_rows(lines: list[bytes]) -> list[tuple[Any, ...]]:
    """What one pass gives."""
    offsets = [sum(map(len, lines[:index])) for index in range(len(lines))]
    return [(0, offset, 0, f"t{n}", n + 0.5) for n, offset in enumerate(offsets)]


def fail_at(step: str, occurrence: int) -> None:
    """Let the database fail once."""
    seen = 0

    def listener(reached: str) -> None:
        nonlocal seen
        seen += reached == step
        if reached == step and seen == occurrence:
            message = "the disk is full"
            raise StoreUnavailableError(message)

    steps.listen(listener)


def test_an_own_asset_is_exactly_once_over_a_failure_and_a_rerun(
    bench: Workbench,
) -> None:
    """A commit fails, the run with it; the next one goes on; growth goes on too."""
    own = stage(bench)
    own.write("a.jsonl", b"".join(LINES[:90]))
    fail_at("commit.rows_written", 3)
    assert not own.run(["a.jsonl"]).success
    assert len(rows(own)) == 40
    steps.listen(None)
    assert own.run(["a.jsonl"]).success
    own.append("a.jsonl", b"".join(LINES[90:]))
    assert own.run(["a.jsonl"]).success
    assert own.run(["a.jsonl"]).success
    assert rows(own) == expected_rows(LINES)


def test_a_retry_policy_resumes_from_the_last_commit(bench: Workbench) -> None:
    """The step fails in mid-file and is retried within its run: each row once."""
    own = stage(bench, retry_policy=dg.RetryPolicy(max_retries=1))
    own.write("a.jsonl", b"".join(LINES))
    fail_at("commit.rows_written", 3)
    result = own.run(["a.jsonl"])
    assert result.success
    assert any(event.is_step_up_for_retry for event in result.all_events)
    assert rows(own) == expected_rows(LINES)
    metadata = own.metadata("a.jsonl", dg.AssetKey("tool_calls"))
    assert metadata["resumed_from_offset"] == len(b"".join(LINES[:40]))


def test_a_replay_of_an_own_asset_replaces_its_rows(bench: Workbench) -> None:
    """The rows of `interaction_patterns` are another stage's and stay."""
    own = stage(bench)
    own.write("a.jsonl", b"".join(LINES))
    assert bench.run(["a.jsonl"]).success
    own.run(["a.jsonl"])
    assert own.run(["a.jsonl"], replay=True).success
    assert rows(own) == expected_rows(LINES)
    assert bench.checkpoint("a.jsonl").offset == len(b"".join(LINES))


def test_a_bug_in_the_function_makes_dead_letters(bench: Workbench) -> None:
    """The record it failed on is kept with its range; the others go on."""

    def buggy(event: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        # Lazily, as a generator that fails in mid-record: no half of its rows.
        yield {"tool": event["name"], "seconds": 1.0}
        yield {"tool": "second", "seconds": 1 / (event["seconds"] - 7.5)}

    own = stage(bench, buggy)
    own.write("a.jsonl", b"".join(LINES))
    assert own.run(["a.jsonl"]).success
    (letter,) = own.pipeline.dead_letters()
    start = len(b"".join(LINES[:7]))
    assert (letter["start_offset"], letter["reason"]) == (start, "stage_error")
    assert "ZeroDivisionError" in letter["detail"]
    assert len(rows(own)) == 2 * 99


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"tol": "x"}], "tol"),
        ([{"tool": ["x"]}], "list"),
        ([{"tool": 2**64}], "int"),
        ({"tool": "x"}, "list of dicts"),
        (["x"], "list of dicts"),
        ([{1: "x"}], "1"),
    ],
    ids=["name", "type", "range", "no list", "no dict", "no name"],
)
def test_rows_that_do_not_fit_the_table_are_a_clear_error(
    bench: Workbench,
    given: Any,
    said: str,
) -> None:
    """The declaration is wrong, not the record: the run fails, unretried."""
    own = stage(bench, lambda _: given)
    own.write("a.jsonl", LINES[0])
    result = own.run(["a.jsonl"])
    assert not result.success
    text = failure_text(result)
    assert said in text
    assert "tool_calls" in text
    run = own.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    with Store(own.pipeline.store_url) as store:
        assert all(each.offset == 0 for each in store.checkpoints())


def test_another_table_for_the_same_stage_is_refused(bench: Workbench) -> None:
    """Columns that changed in the code are no reason to lose the old rows."""
    stage(bench).write("a.jsonl", LINES[0])
    assert stage(bench).run(["a.jsonl"]).success
    changed = stage_table("tool_calls", sa.Column("name", sa.Text))
    result = stage(bench, tools, changed).run(["a.jsonl"])
    assert not result.success
    assert "'tool_calls'" in failure_text(result)
    assert rows(bench) == expected_rows(LINES[:1])


def test_an_asset_that_returns_something_else_is_told_what_to_return(
    bench: Workbench,
) -> None:
    """Such as a list."""

    @dg.asset(partitions_def=telemetry_files, io_manager_key="checkpoint_io_manager")
    def wrong(telemetry_file: TelemetryStream) -> list[str]:
        return list(telemetry_file.partitions)

    bench.write("a.jsonl", LINES[0])
    result = with_asset(bench, wrong).run(["a.jsonl"])
    assert "return telemetry_file.rows(...)" in failure_text(result)


def test_an_asset_without_partitions_reads_all_files(bench: Workbench) -> None:
    """Each from its own checkpoint; again: nothing new."""

    @dg.asset(io_manager_key="checkpoint_io_manager")
    def all_calls(telemetry_file: TelemetryStream) -> StageOutput:
        return telemetry_file.rows(tools, into=tool_calls_table)

    keys = [bench.write(name, b"".join(LINES)) for name in ("a.jsonl", "b.jsonl")]
    add_keys(bench.instance, keys)
    job = with_asset(bench, all_calls).job
    for _ in range(2):
        assert job.execute_in_process(instance=bench.instance).success
    assert len(rows(bench)) == 2 * len(LINES)


def with_asset(bench: Workbench, asset: dg.AssetsDefinition) -> Workbench:
    """The bench with a job of one more asset."""
    definitions = dg.Definitions.merge(
        build_definitions(),
        dg.Definitions([asset], jobs=[dg.define_asset_job("own", [asset])]),
    )
    return replace(bench, job=definitions.resolve_job_def("own"))
