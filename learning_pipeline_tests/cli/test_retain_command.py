"""`retain`, and what `status` says of rotated files."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline
from learning_pipeline_tests.stages.rotated import age

STAGE = "interaction_patterns"


@pytest.fixture
def rotated(processed: Pipeline) -> Pipeline:
    """A processed pipeline whose `a.jsonl` was rotated away forty days ago."""
    path = processed.telemetry / "a.jsonl.1"
    (processed.telemetry / "a.jsonl").rename(path)
    age(path, 40)
    content = b"".join(generate_lines(20, seed=5))
    (processed.telemetry / "a.jsonl").write_bytes(content)
    assert run(processed, "process").code == 0
    return processed


def names(pipeline: Pipeline) -> list[str]:
    """Everything in the telemetry root."""
    return sorted(path.name for path in pipeline.telemetry.iterdir())


def test_a_dry_run_is_the_default(rotated: Pipeline) -> None:
    """It says what would happen, what is kept, and how to do it."""
    young = rotated.telemetry / "b.jsonl.1"
    young.write_bytes(b"{}\n")
    before = names(rotated)
    completed = run(rotated, "retain")
    assert completed.code == 0
    rows = {line.split()[0]: line for line in completed.output.splitlines()}
    assert "to compress" in rows["a.jsonl.1"]
    assert "written to 0.0 days ago" in rows["b.jsonl.1"]
    assert "1 kept, 1 to compress." in completed.output
    assert "--execute" in completed.output
    assert names(rotated) == before


def test_compressing_and_then_deleting_changes_no_row(rotated: Pipeline) -> None:
    """Each with one command; the export stays, and nothing counts as lost."""
    before = run(rotated, "export", "patterns").output
    completed = run(rotated, "retain", "--execute")
    assert "1 compressed; " in completed.output
    assert names(rotated) == ["a.jsonl", "a.jsonl.1.gz", "b.jsonl"]
    assert run(rotated, "process").code == 0
    document = run(
        rotated, "retain", "a.jsonl", "--execute", "--action", "delete", "--json"
    ).document
    assert (document["executed"], document["action"]) == (True, "delete")
    assert document["older_than_days"] == 30
    [decision] = document["files"]
    assert (decision["file"], decision["outcome"]) == ("a.jsonl.1.gz", "deleted")
    assert names(rotated) == ["a.jsonl", "b.jsonl"]
    assert run(rotated, "process").code == 0
    assert run(rotated, "export", "patterns").output == before
    [a, _] = run(rotated, "status", "--json").document["files"]
    assert a["stages"][STAGE]["lost_bytes_at_least"] == 0
    assert run(rotated, "retain").output == "No rotated files.\n"


def test_the_settings_say_what_and_when(rotated: Pipeline) -> None:
    """Unless the command says otherwise."""
    environment = {
        "LEARNING_PIPELINE_RETAIN_ACTION": "delete",
        "LEARNING_PIPELINE_RETAIN_AFTER_DAYS": "50",
    }
    completed = run(rotated, "retain", environment=environment)
    assert "40.0 days ago, that is less than 50" in completed.output
    arguments = ("retain", "--older-than", "39.5", "--execute")
    completed = run(rotated, *arguments, environment=environment)
    assert "1 deleted; " in completed.output


def test_a_file_that_fails_makes_the_command_fail(rotated: Pipeline) -> None:
    """The others go all the same."""
    damaged = rotated.telemetry / "b.jsonl.1.gz"
    damaged.write_bytes(gzip.compress(b"{}\n" * 100)[:-9])
    age(damaged, 40)
    completed = run(rotated, "retain", "--action", "delete", "--execute")
    assert completed.code == 1
    assert "1 deleted, 1 failed" in completed.output
    assert names(rotated) == ["a.jsonl", "b.jsonl", "b.jsonl.1.gz"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere.jsonl",), 1, "nowhere.jsonl"),
        (("--older-than", "-1"), 2, "--older-than"),
        (("--action", "burn"), 2, "--action"),
    ],
)
def test_wrong_use_is_refused(
    rotated: Pipeline, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """With what is wrong."""
    completed = run(rotated, "retain", *arguments, "--execute")
    assert (completed.code, said in completed.errors) == (code, True)
    assert "a.jsonl.1" in names(rotated)


def test_nothing_goes_before_anything_was_processed(tmp_path: Path) -> None:
    """And no state directory is made for it."""
    pipeline = Pipeline(tmp_path)
    for name in ("a.jsonl", "a.jsonl.1"):
        (pipeline.telemetry / name).write_bytes(b"{}\n")
        age(pipeline.telemetry / name, 40)
    completed = run(pipeline, "retain", "--execute")
    assert completed.code == 0
    assert "no stage has read this partition" in completed.output
    assert not pipeline.state.exists()


def test_status_counts_rotated_files_and_their_lag(rotated: Pipeline) -> None:
    """In the table, and as JSON."""
    with (rotated.telemetry / "a.jsonl.1").open("ab") as file:
        file.write(b'{"event": "late"}\n')
    with (rotated.telemetry / "a.jsonl").open("ab") as file:
        file.write(b"torn")
    lines = run(rotated, "status").output.splitlines()
    assert lines[0].split()[-3:] == ["rotated", "lost", "bytes"]
    rows = {line.split()[0]: line.split() for line in lines}
    assert (rows["a.jsonl"][-2], rows["a.jsonl"][4]) == ("1", "22")
    assert (rows["b.jsonl"][-2], rows["b.jsonl"][4]) == ("0", "0")
    [a, b] = run(rotated, "status", "--json").document["files"]
    assert (a["rotated_files"], a["lag_bytes"]) == (1, 22)
    assert a["stages"][STAGE]["lag_bytes"] == 22
    assert (b["rotated_files"], b["lag_bytes"]) == (0, 0)


def test_status_says_that_more_may_be_lost(rotated: Pipeline) -> None:
    """A file went away with bytes that were seen and not read."""
    path = rotated.telemetry / "a.jsonl.1"
    with path.open("ab") as file:
        file.write(b"[")
    run(rotated, "process")
    with (rotated.telemetry / "b.jsonl").open("ab") as file:
        file.write(b"torn")
    run(rotated, "process")
    (rotated.telemetry / "b.jsonl").write_bytes(b"{}\n")
    run(rotated, "process")
    lines = run(rotated, "status").output.splitlines()
    b = next(line for line in lines if re.match(r"b\.jsonl +interaction_pat", line))
    assert b.endswith("≥ 4")
