"""`process` and `demo`: passes over files, their messages and exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from learning_pipeline.testing.generator import generate_lines, write_telemetry
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import (
    COMMAND,
    Pipeline,
    assert_as_from_one_pass,
)

EVENT_COUNT = 5_000


def test_a_first_pass_processes_everything_and_a_second_finds_nothing(
    pipeline: Pipeline,
) -> None:
    """A line per file and a sum; then: nothing new."""
    first = run(pipeline, "process")
    assert first.code == 0
    for name in ("a.jsonl", "b.jsonl"):
        assert re.search(rf"^{name}: 100 % .*50 events", first.output, re.MULTILINE)
    assert "2 files processed, 0 failed: 100 events" in first.output
    assert first.errors == ""
    second = run(pipeline, "process")
    assert (second.code, second.output) == (0, "2 files, nothing new.\n")


def test_a_named_file_is_processed_alone(pipeline: Pipeline) -> None:
    """The other one waits for its turn."""
    assert run(pipeline, "process", "b.jsonl", "b.jsonl").code == 0
    document = run(pipeline, "checkpoints", "show", "--json").document
    assert list(document["last_positions"]) == ["b.jsonl"]


def test_an_empty_root_is_said_and_no_failure(tmp_path: Path) -> None:
    """With what to do about it."""
    completed = run(Pipeline(tmp_path), "process")
    assert completed.code == 0
    assert "No telemetry files" in completed.output
    assert "learning-pipeline demo" in completed.output


def test_a_file_that_fails_fails_the_command_and_no_other_file(
    processed: Pipeline,
) -> None:
    """Known once, deleted since: exit code 1, the reason, the other one done."""
    (processed.telemetry / "a.jsonl").unlink()
    with (processed.telemetry / "b.jsonl").open("ab") as file:
        file.writelines(generate_lines(3, seed=9))
    completed = run(processed, "process", "a.jsonl", "b.jsonl")
    assert completed.code == 1
    assert "Error: a.jsonl: " in completed.errors
    assert "1 files processed, 1 failed: 3 events" in completed.output
    rows = run(processed, "status", "--json").document["files"]
    lags = {
        each["partition"]: each["stages"]["interaction_patterns"]["lag_bytes"]
        for each in rows
    }
    assert lags == {"a.jsonl": None, "b.jsonl": 0}


def test_what_is_left_out_is_said(pipeline: Pipeline) -> None:
    """A link and a FIFO that match the patterns, without failing the command."""
    (pipeline.telemetry / "link.jsonl").symlink_to("a.jsonl")
    os.mkfifo(pipeline.telemetry / "pipe.jsonl")
    completed = run(pipeline, "process")
    assert completed.code == 0
    assert "left out: link.jsonl: symbolic links" in completed.errors
    assert "left out: pipe.jsonl: " in completed.errors


def test_a_check_that_fails_is_a_warning(pipeline: Pipeline) -> None:
    """Bad records are kept, counted and said."""
    (pipeline.telemetry / "bad.jsonl").write_bytes(b"{broken\n" * 3)
    completed = run(pipeline, "process")
    assert completed.code == 0
    assert "Warning: check dead_letter_share: bad.jsonl: 3 of 3" in completed.errors
    assert "3 dead letters" in completed.output


def test_logs_are_json_lines_where_standard_error_is_no_terminal(
    pipeline: Pipeline,
) -> None:
    """Each line parses and has event, level and time; no text from telemetry."""
    completed = run(pipeline, "--log-level", "INFO", "process")
    lines = [json.loads(line) for line in completed.errors.splitlines()]
    events = {line["event"] for line in lines}
    assert {"resuming_from_checkpoint", "file_finished"} & events
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert "prompt" not in completed.errors


def test_the_run_log_of_dagster_has_our_lines_at_any_level(pipeline: Pipeline) -> None:
    """Quiet on the terminal does not mean quiet in the UI."""
    from dagster import DagsterInstance  # noqa: PLC0415 - only here

    assert run(pipeline, "--log-level", "ERROR", "process").errors == ""
    home = str(pipeline.state / "dagster_home")
    with DagsterInstance.from_config(home) as instance:
        (record,) = instance.get_run_records()
        messages = [
            entry.user_message for entry in instance.all_logs(record.dagster_run.run_id)
        ]
    assert any(message.startswith("file_finished ") for message in messages)


def on_a_terminal(pipeline: Pipeline, *arguments: str) -> tuple[int, str]:
    """Run the command on a pseudo-terminal; gives exit code and screen."""
    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    with subprocess.Popen(
        [COMMAND, *arguments],
        env={**pipeline.environment, "TERM": "xterm"},
        cwd=pipeline.folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        screen = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:
                break
            screen += piece
        code = process.wait(60)
    os.close(leader)
    return code, screen.decode()


def test_a_terminal_gets_a_bar_per_file(pipeline: Pipeline) -> None:
    """And no plain lines."""
    code, screen = on_a_terminal(pipeline, "process")
    assert code == 0
    assert "━" in screen
    for name in ("a.jsonl", "b.jsonl"):
        assert name in screen
    assert "50 events" in screen
    assert "bytes)" not in screen
    assert "2 files processed" in screen
    assert "Traceback" not in screen


def test_elsewhere_there_are_plain_lines(pipeline: Pipeline) -> None:
    """No control characters for a log file."""
    completed = run(pipeline, "process")
    assert "━" not in completed.output + completed.errors
    assert "\x1b" not in completed.output + completed.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_everything_and_the_next_run_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C at the real process in mid-file: 130, a message, no traceback."""
    pipeline = Pipeline(tmp_path, {"CHECKPOINT_INTERVAL": "1"})
    write_telemetry(pipeline.telemetry / "a.jsonl", EVENT_COUNT)
    process = subprocess.Popen(
        [COMMAND, "process"],
        env=pipeline.environment,
        cwd=pipeline.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = pipeline.state / "state.db-wal"
    while process.poll() is None and not (
        log.exists() and log.stat().st_size > 300_000
    ):
        time.sleep(0.01)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "everything up to the last commit is kept" in errors
    assert "Traceback" not in output + errors
    document = run(pipeline, "checkpoints", "show", "--json").document
    (offset,) = document["last_positions"].values()
    (checkpoint,) = document["checkpoints"]
    assert 0 < offset < (pipeline.telemetry / "a.jsonl").stat().st_size
    assert checkpoint["synced_offset"] == offset
    faster = Pipeline(tmp_path, {"CHECKPOINT_INTERVAL": "1000"})
    assert run(faster, "process").code == 0
    reference = Pipeline(tmp_path / "once")
    write_telemetry(reference.telemetry / "a.jsonl", EVENT_COUNT)
    reference.process()
    assert_as_from_one_pass(faster, reference)


def test_the_demo_writes_processes_and_says_what_is_next(tmp_path: Path) -> None:
    """Twice: the files are left alone, and everything stays as it is."""
    pipeline = Pipeline(tmp_path)
    first = run(pipeline, "demo", "--events", "50")
    assert first.code == 0
    assert "106 events of a real agent stack" in first.output
    assert "3 files processed, 0 failed: 206 events" in first.output
    for said in ("status", "report", "export dataset", "dev"):
        assert f"learning-pipeline {said}" in first.output
    exported = pipeline.export()
    second = run(pipeline, "demo", "--events", "70")
    assert second.code == 0
    assert "wrote" not in second.output
    assert "nothing new" in second.output
    assert pipeline.export() == exported
    real = [row for row in exported if "hybrid" in row["partition"]]
    assert len(real) == 46
