"""Help, bad usage, bad settings, bad surroundings: one clear line and an exit code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from learning_pipeline.cli import cli
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import COMMAND, Pipeline


def command_lines(
    command: click.Command, path: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """Every command and group, as one calls it."""
    found = [path]
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found += command_lines(child, (*path, name))
    return found


@pytest.mark.parametrize("path", command_lines(cli), ids=" ".join)
def test_every_command_has_help(pipeline: Pipeline, path: tuple[str, ...]) -> None:
    """Of each, with every option described."""
    completed = run(pipeline, *path, "--help")
    assert completed.code == 0
    assert completed.output.startswith("Usage: learning-pipeline")
    for option in re.findall(r"^  --[a-z-]+.*$", completed.output, re.MULTILINE):
        assert len(option.split()) > 1, option
    assert not (pipeline.state).exists()


def test_the_public_commands_are_there() -> None:
    """Those of this issue."""
    names = {" ".join(path) for path in command_lines(cli)}
    assert names >= {
        *("process", "dev", "demo", "status", "export patterns"),
        *("checkpoints show", "checkpoints history"),
        *("checkpoints rewind", "checkpoints clear"),
        *("dead-letters list", "dead-letters retry"),
        *("doctor", "backup", "rebuild"),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--unknown",),
        ("unknown",),
        ("process", "--unknown"),
        ("process", "a b.jsonl"),
        ("process", "/etc/passwd"),
        ("process", "../a.jsonl"),
        ("process", ""),
        ("process", "nowhere.jsonl"),
        ("checkpoints", "rewind"),
        ("checkpoints", "rewind", "a.jsonl", "--to", "-1"),
        ("checkpoints", "rewind", "a.jsonl", "--to", "step:x"),
        ("checkpoints", "rewind", "a.jsonl", "--to", "2026-13-01"),
        ("checkpoints", "rewind", "a.jsonl", "--to", "step:1", "--generation", "0"),
        ("checkpoints", "show", "a b.jsonl"),
        ("checkpoints", "clear"),
        ("dead-letters", "list", "a b.jsonl"),
        ("dead-letters", "retry", "a b.jsonl"),
        ("dead-letters", "retry", "--stage", "mine"),
        ("demo", "--events", "0"),
        ("doctor", "--unknown"),
        ("backup", "--out", "telemetry"),
        ("rebuild", "--from-backup", "nowhere.db", "--yes"),
        ("dev", "--port", "0"),
        ("--log-level", "LOUD", "status"),
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2(pipeline: Pipeline, arguments: tuple[str, ...]) -> None:
    """A message on standard error, nothing on standard output."""
    completed = run(pipeline, *arguments)
    assert completed.code == 2
    assert "Error" in completed.errors
    assert completed.output == ""


@pytest.mark.parametrize(
    "command", [("process",), ("checkpoints", "rewind"), ("dead-letters", "list")]
)
def test_a_raw_path_gets_a_hint(pipeline: Pipeline, command: tuple[str, ...]) -> None:
    """A key is percent-encoded; who types the path is told the key."""
    (pipeline.telemetry / "a b.jsonl").write_bytes(b"{}\n")
    completed = run(pipeline, *command, "a b.jsonl")
    assert "did you mean 'a%20b.jsonl'?" in completed.errors
    assert run(pipeline, "process", "a%20b.jsonl").code == 0


def test_an_unknown_file_is_named(pipeline: Pipeline) -> None:
    """With where it was looked for, and what lists the files."""
    completed = run(pipeline, "process", "a.jsonl", "nowhere.jsonl")
    assert "'nowhere.jsonl'" in completed.errors
    assert "'a.jsonl'" not in completed.errors
    assert "status" in completed.errors


SETTINGS = [
    ("CHECKPOINT_INTERVAL", "0"),
    ("CHECKPOINT_INTERVAL", "many"),
    ("STORE_URL", "mysql://somewhere"),
    ("STORE_URL", "nonsense"),
    ("TELEMETRY_PATTERNS", ""),
    ("TELEMETRY_PATTERNS", "../*.jsonl"),
    ("MAX_DEAD_LETTER_SHARE", "2"),
    ("EXECUTOR", "rocket"),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
@pytest.mark.parametrize("command", ["process", "status", "dev"])
def test_a_wrong_setting_is_named(
    pipeline: Pipeline, command: str, name: str, value: str
) -> None:
    """Exit code 2, and the variable to change."""
    variable = f"LEARNING_PIPELINE_{name}"
    completed = run(pipeline, command, environment={variable: value})
    assert completed.code == 2
    assert variable in completed.errors


@pytest.mark.parametrize("command", ["process", "status", "dev"])
def test_a_missing_telemetry_root_is_an_error(pipeline: Pipeline, command: str) -> None:
    """It is named, with the setting; nothing is created."""
    root = str(pipeline.folder / "nowhere")
    completed = run(
        pipeline, command, environment={"LEARNING_PIPELINE_TELEMETRY_DIR": root}
    )
    assert completed.code == 2
    assert root in completed.errors
    assert "LEARNING_PIPELINE_TELEMETRY_DIR" in completed.errors
    assert not Path(root).exists()


@pytest.mark.parametrize("command", ["process", "dev", "demo"])
def test_a_state_directory_that_cannot_be_written_is_an_error(
    pipeline: Pipeline, command: str
) -> None:
    """It lies below a file, as root may write anywhere else."""
    state = pipeline.telemetry / "a.jsonl" / "state"
    variable = "LEARNING_PIPELINE_STATE_DIR"
    completed = run(pipeline, command, environment={variable: str(state)})
    assert completed.code in {1, 2}
    assert variable in completed.errors
    assert str(state) in completed.errors


@pytest.mark.parametrize(
    "command",
    [
        ("process",),
        ("status",),
        ("dev",),
        ("checkpoints", "show"),
        ("checkpoints", "clear", "a.jsonl", "--yes"),
        ("export", "patterns"),
        ("dead-letters", "list"),
        ("backup",),
    ],
    ids=" ".join,
)
def test_a_damaged_state_database_is_refused(
    processed: Pipeline, command: tuple[str, ...]
) -> None:
    """Loudly, by every command, and it is not touched."""
    database = processed.state / "state.db"
    for beside in processed.state.glob("state.db-*"):
        beside.unlink()
    damaged = b"damaged" * 1000
    database.write_bytes(damaged)
    completed = run(processed, *command)
    assert completed.code == 1
    assert "damaged" in completed.errors
    assert str(database) in completed.errors
    assert database.read_bytes() == damaged


def test_a_dagster_home_that_is_none_is_an_error(pipeline: Pipeline) -> None:
    """DAGSTER_HOME wins over ours, so it has to be right."""
    nowhere = str(pipeline.folder / "nowhere")
    completed = run(pipeline, "process", environment={"DAGSTER_HOME": nowhere})
    assert completed.code == 2
    assert "DAGSTER_HOME" in completed.errors


@pytest.mark.parametrize("broken", ["run_retries: [", "unknown_key: 1\n"])
def test_a_broken_dagster_yaml_is_an_error(pipeline: Pipeline, broken: str) -> None:
    """It is ours to write and theirs to edit."""
    home = pipeline.state / "dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(broken)
    completed = run(pipeline, "process")
    assert completed.code == 2
    assert "dagster.yaml" in completed.errors


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("status", "--json"),
        ("report",),
        ("report", "--json"),
        ("checkpoints", "show"),
        ("checkpoints", "show", "--json"),
        ("checkpoints", "history"),
        ("dead-letters", "list"),
        ("export", "patterns"),
    ],
    ids=" ".join,
)
def test_looking_creates_nothing(pipeline: Pipeline, command: tuple[str, ...]) -> None:
    """Who looks in the wrong folder leaves no state database behind."""
    before = sorted(pipeline.folder.rglob("*"))
    completed = run(pipeline, *command)
    assert completed.code == 0
    new = set(pipeline.folder.rglob("*")) - set(before)
    assert {path.name for path in new} <= {"stdout.txt", "stderr.txt"}


def test_a_full_disk_under_the_output_is_an_error(processed: Pipeline) -> None:
    """/dev/full takes nothing."""
    completed = run(processed, "export", "patterns", output="/dev/full")
    assert completed.code == 1
    assert "No space left" in completed.errors


@pytest.mark.parametrize(
    "command", ["export patterns", "status", "checkpoints history"]
)
def test_a_pipe_that_closes_early_is_no_traceback(
    processed: Pipeline, command: str
) -> None:
    """`| head -1` by a real shell."""
    completed = subprocess.run(
        ["/bin/bash", "-c", f"{COMMAND} {command} | head -c 1"],
        env=processed.environment,
        cwd=processed.folder,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert len(completed.stdout) == 1
    assert completed.stderr == b""


def test_wrong_usage_and_help_do_not_wait_for_dagster() -> None:
    """It takes longer to import than all else; only what runs assets needs it."""
    code = "import learning_pipeline.cli, sys; sys.exit('dagster' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], check=False)
    assert completed.returncode == 0


@pytest.mark.parametrize("command", ["process", "dev", "status", "report", "doctor"])
def test_a_wrong_setting_is_told_in_a_line(pipeline: Pipeline, command: str) -> None:
    """Also one that Dagster's definitions read."""
    wrong = {"LEARNING_PIPELINE_SENSOR_SECONDS": "0"}
    process = subprocess.run(
        [COMMAND, command],
        env={**pipeline.environment, **wrong},
        cwd=pipeline.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith("Error: LEARNING_PIPELINE_SENSOR_SECONDS: ")
