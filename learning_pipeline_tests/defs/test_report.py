"""`learning_report`: everything in its metadata, by job and by the hour."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from learning_pipeline.defs import build_definitions
from learning_pipeline.defs.report import REPORT_KEY
from learning_pipeline.learning.breakers import QDRANT, Breakers, unavailable
from learning_pipeline.learning.index import index_folder
from learning_pipeline.settings import load_settings
from learning_pipeline.stages import fleet
from learning_pipeline.stages.names import ALL_STAGES
from learning_pipeline.store import Store
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import (
    REAL_EVENTS,
    REAL_PATTERNS,
    REAL_QUALITY,
    Workbench,
    failure_text,
)

pytestmark = pytest.mark.usefixtures("all_stages")

TABLES = {
    *("files", "stages", "patterns_by_kind", "backends", "proposals"),
    *("dead_letters", "dependencies"),
}


def report(bench: Workbench) -> dg.ExecuteInProcessResult:
    """The job, as the project's definitions have it."""
    return (
        build_definitions()
        .resolve_job_def("report")
        .execute_in_process(
            instance=bench.instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    )


def reported(bench: Workbench) -> dict[str, dg.MetadataValue]:
    """The metadata of a new report."""
    assert report(bench).success
    event = bench.instance.get_latest_materialization_event(REPORT_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def rows(value: dg.MetadataValue) -> list[dict[str, Any]]:
    """The rows of a table."""
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def asked_for(bench: Workbench) -> str | None:
    """Why the schedule asks for no report; None when it asks for one."""
    schedule = build_definitions().resolve_schedule_def("report_hourly")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    tick = schedule.evaluate_tick(dg.build_schedule_context(instance=bench.instance))
    return None if tick.run_requests else tick.skip_message


def fail_once(bench: Workbench, cause: str) -> None:
    """Let the breaker of Qdrant open for some cause."""
    settings = load_settings().model_copy(update={"breaker_failures": 1})

    def fail() -> None:
        raise unavailable(QDRANT, cause)

    with (
        Store(bench.pipeline.store_url) as store,
        pytest.raises(Exception, match="not available"),
    ):
        Breakers(store, settings).of(QDRANT).call(fail)


def test_everything_about_the_real_file_is_in_the_metadata(bench: Workbench) -> None:
    """Numbers as numbers, lists as tables, charts as pictures."""
    assert bench.run([bench.copy_real_file()]).success
    found = reported(bench)
    expected = {
        "file_count": 1,
        "event_count": REAL_EVENTS,
        "pattern_count": REAL_PATTERNS,
        "example_count": REAL_QUALITY,
        "duplicate_count": 0,
        "training_threshold": 1000,
        "lag_bytes": 0,
        "lag_bytes_pattern_index": 0,
        "index_waiting_change_count": 0,
        "open_breaker_count": 0,
        "preliminary_proposal_count": 4,
        "latest_day_success_rate": 1.0,
    }
    assert {name: found[name].value for name in expected} == expected
    assert found["training_threshold_reached"].value is False
    assert "example_growth" not in found
    tables = {
        name
        for name, value in found.items()
        if isinstance(value, dg.TableMetadataValue)
    }
    assert tables == TABLES
    [file] = rows(found["files"])
    assert file == {"file": "real.jsonl", "progress": "100.0 %; 46 patterns"}
    assert [row["stage"] for row in rows(found["stages"])] == list(ALL_STAGES)
    [kind] = rows(found["patterns_by_kind"])
    assert kind == {"kind": "agent_step_complete", "patterns": 46, "examples": 44}
    assert {row["backend"] for row in rows(found["backends"])} == {
        *("(none)", "apparmor-fix-agent"),
    }
    assert [row["state"] for row in rows(found["dependencies"])] == ["closed"] * 3


def test_the_charts_are_pictures_in_one_markdown(bench: Workbench) -> None:
    """Each of them whole; all of them together small."""
    assert bench.run([bench.copy_real_file()]).success
    text = str(reported(bench)["charts"].value)
    found = re.findall(r"!\[(\w+)\]\(data:image/png;base64,([\w+/=]+)\)", text)
    assert len(found) == text.count("![") == 4
    for _, encoded in found:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            image.verify()
    assert len(text) < 100_000


def test_growth_is_since_the_report_before(bench: Workbench) -> None:
    """A number, and a line of the summary."""
    assert bench.run([bench.copy_real_file()]).success
    reported(bench)
    bench.write("more.jsonl", b"".join(generate_lines(100, seed=9)))
    assert bench.run(["more.jsonl"]).success
    found = reported(bench)
    growth = found["example_growth"].value
    assert growth == int(found["example_count"].value) - REAL_QUALITY > 0  # type: ignore[arg-type]
    assert f"{growth} examples since the report of" in str(
        found["summary"].value
    ).replace("\\", "")


def test_a_report_of_nothing_comes_out(bench: Workbench) -> None:
    """Without telemetry, and before anything was committed."""
    found = reported(bench)
    assert found["file_count"].value == found["example_count"].value == 0
    assert found["charts"].value == "nothing to draw yet"
    assert found["index_target"].value == "none yet"
    bench.pipeline.telemetry.rmdir()
    found = reported(bench)
    assert "lag_bytes" not in found
    assert "telemetry" in str(found["summary"].value)


def test_a_report_comes_out_while_everything_else_is_down(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services refuse, the index is damaged: it says what is known."""
    assert bench.run([bench.copy_real_file()]).success
    for path in index_folder(load_settings()).rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    for name in ("QDRANT_URL", "EMBEDDINGS_URL"):
        monkeypatch.setenv(f"LEARNING_PIPELINE_{name}", "http://127.0.0.1:9")
    monkeypatch.setenv("LEARNING_PIPELINE_EMBEDDINGS_MODEL", "test")
    fail_once(bench, "nobody | answers <b>[here](http://127.0.0.1:9)</b>")
    found = reported(bench)
    assert found["open_breaker_count"].value == 1
    state = next(
        row for row in rows(found["dependencies"]) if row["service"] == "qdrant"
    )
    assert state["state"].startswith("open, opened at 20")
    assert "nobody | answers" in state["state"]
    summary = str(found["summary"].value)
    assert "qdrant is open since" in summary
    assert r"\<b\>\[here\]" in summary
    assert len(summary) < 1_000


def test_of_many_files_the_worst_are_listed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals are of all."""
    monkeypatch.setattr(fleet, "MAX_FILES_SHOWN", 2)
    for number in range(4):
        bench.write(f"{number}.jsonl", b'{"event": "tick"}\n' * (number + 1))
    assert bench.run(["3.jsonl"]).success
    found = reported(bench)
    assert [row["file"] for row in rows(found["files"])] == ["2.jsonl", "1.jsonl"]
    progress = "0.0 %; 54 B unread by interaction patterns; 0 patterns"
    assert rows(found["files"])[0]["progress"] == progress
    assert found["file_count"].value == 4
    assert found["behind_file_count"].value == 3
    assert rows(found["stages"])[0]["unread"] == "108 B in 3 files"


def test_of_the_index_points_are_told_not_duplicates(bench: Workbench) -> None:
    """A point per example, whatever else it was taken past."""
    lines = bench.copy_real_file()
    bench.write("same.jsonl", (bench.pipeline.telemetry / lines).read_bytes() + b"{}\n")
    assert bench.run([lines]).success
    assert bench.run(["same.jsonl"]).success
    found = reported(bench)
    assert found["duplicate_count"].value == REAL_QUALITY
    made = {row["stage"]: row["rows"] for row in rows(found["stages"])}
    assert made["finetuning_examples"] == 2 * REAL_QUALITY
    assert made["pattern_index"] == REAL_QUALITY


def longest_run(text: object) -> int:
    """The most characters in which no line can be broken."""
    return max(map(len, re.split(r"[\s-]", str(text))), default=0)


def test_tables_are_narrow_whatever_names_there_are(bench: Workbench) -> None:
    """So that a page shows all of them, without being scrolled aside."""
    name = f"{'f' * 70}.jsonl"
    event = {
        "event": "task_failed",
        "backend": "b" * 190,
        "total_iterations": 8,
        "adaptive_limit_used": 8,
        "task": {"prompt": "x", "type": "t" * 190},
        "latency_ms": 123_456,
    }
    bench.write(name, json.dumps(event).encode() + b"\n[]\n")
    assert bench.run([name]).success
    fail_once(bench, "e" * 200)
    found = reported(bench)
    for table in TABLES - {"patterns_by_kind"}:
        assert rows(found[table]), table
        columns = dict(rows(found[table])[0])
        widths = [
            max(
                longest_run(row[column])
                for row in [*rows(found[table]), {column: column}]
            )
            for column in columns
        ]
        # The borders of a column are as wide as two characters.
        assert sum(widths) + 2 * len(widths) <= 43, (table, widths)


def test_a_damaged_state_database_fails_the_report_with_the_remedy(
    bench: Workbench,
) -> None:
    """In the words of the error, and it is not touched."""
    bench.pipeline.state.mkdir()
    database = bench.pipeline.state / "state.db"
    database.write_bytes(b"damaged" * 1000)
    result = report(bench)
    assert not result.success
    assert "learning-pipeline" in failure_text(result)
    assert database.read_bytes() == b"damaged" * 1000


def test_the_schedule_asks_when_something_was_committed(home_bench: Workbench) -> None:
    """Not before, and not twice for the same."""
    assert asked_for(home_bench) == "nothing was committed yet"
    key = home_bench.copy_real_file()
    assert home_bench.run([key]).success
    assert asked_for(home_bench) is None
    reported(home_bench)
    assert home_bench.run([key]).success
    skipped = asked_for(home_bench)
    assert skipped is not None
    assert skipped.startswith("nothing was committed since the report of 20")
    home_bench.append("real.jsonl", b"".join(generate_lines(1)))
    assert home_bench.run([key]).success
    assert asked_for(home_bench) is None


def test_the_schedule_asks_when_a_service_went_down(home_bench: Workbench) -> None:
    """What the last report says of it holds no more."""
    assert home_bench.run([home_bench.copy_real_file()]).success
    reported(home_bench)
    assert asked_for(home_bench) is not None
    fail_once(home_bench, "it answered 503")
    assert asked_for(home_bench) is None


def test_the_report_stands_behind_every_stage(bench: Workbench) -> None:
    """In the lineage; it has no partitions."""
    assert bench.pipeline.telemetry.is_dir()
    graph = build_definitions().get_repository_def().asset_graph
    node = graph.get(REPORT_KEY)
    assert {key.to_user_string() for key in node.parent_keys} >= set(ALL_STAGES)
    assert node.partitions_def is None
