"""Poison among sound records, through the real command: nothing stops, all is told."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from learning_pipeline_tests.extraction.extraction_records import step
from learning_pipeline_tests.extraction.poisonous import KIND, install
from learning_pipeline_tests.extraction.test_isolated_extractors import (
    poison,
    wait_for_end,
    workers,
)
from learning_pipeline_tests.pipeline import (
    COMMAND,
    FIRST_STAGE_ONLY,
    PROJECT,
    Pipeline,
)

pytestmark = pytest.mark.sweep

REASONS = {
    "hang": "extractor_timed_out",
    "leave": "extractor_crashed",
    "segfault": "extractor_crashed",
    "grow": "extractor_out_of_memory",
}
SETTINGS = {
    **FIRST_STAGE_ONLY,
    "EXTRACTOR_TIMEOUT_SECONDS": "1",
    "EXTRACTOR_MEMORY_BYTES": str(256 * 1024 * 1024),
    "CHECKPOINT_INTERVAL": "3",
}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline for whose commands the poisonous extractor is installed."""
    install(tmp_path / "site")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(PROJECT), str(tmp_path / "site")])
    )
    return Pipeline(tmp_path, dict(SETTINGS))


@pytest.mark.parametrize("read_ahead_bytes", [2**40, 0])
def test_every_sound_record_has_its_rows_and_every_poisonous_one_its_dead_letter(
    pipeline: Pipeline, read_ahead_bytes: int
) -> None:
    """Whichever process reads; exit code 0, and a second pass finds nothing."""
    pipeline.settings["READ_AHEAD_BYTES"] = str(read_ahead_bytes)
    lines: list[bytes] = []
    letters = []
    for number, (act, reason) in enumerate(REASONS.items()):
        lines += [poison(text=f"sound {number}"), step(query=f"ours {number}")]
        start = sum(len(line) + 1 for line in lines)
        lines.append(poison(act))
        letters.append((start, start + len(lines[-1]) + 1, reason))
    lines.append(poison(text="last"))
    (pipeline.telemetry / "a.jsonl").write_bytes(b"\n".join([*lines, b""]))
    done = pipeline.run("process")
    assert (done.code, "Traceback" in done.errors) == (0, False), done.errors
    assert [row["prompt"] for row in pipeline.export()] == [
        *(
            prompt
            for number in range(len(REASONS))
            for prompt in (f"sound {number} 0", f"sound {number} 1", f"ours {number}")
        ),
        "last 0",
        "last 1",
    ]
    assert [
        (letter["start_offset"], letter["end_offset"], letter["reason"])
        for letter in pipeline.dead_letters()
    ] == letters
    ((_, _, counters),) = pipeline.counters()
    assert counters.events_by_kind[KIND] == 2 * len(REASONS) + 1
    assert pipeline.audit() == []
    assert "nothing new" in pipeline.run("process").output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_ends_while_an_extractor_hangs_leaves_no_process(
    pipeline: Pipeline, number: signal.Signals
) -> None:
    """Killed or interrupted; what was committed before stays."""
    pipeline.settings |= {
        "EXTRACTOR_TIMEOUT_SECONDS": "600" if number == signal.SIGKILL else "3"
    }
    lines = [poison(text="sound")] * 3 + [poison("hang")] * 4
    (pipeline.telemetry / "a.jsonl").write_bytes(b"\n".join([*lines, b""]))
    process = subprocess.Popen(
        [COMMAND, "process"],
        env=pipeline.environment,
        cwd=pipeline.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process, process.stderr as errors:
        try:
            assert any(line == b"hanging\n" for line in errors)
            (worker,) = workers(process.pid)
            process.send_signal(number)
            # Else it would wait for somebody to read what it says.
            errors.read()
            code = process.wait(60)
        finally:
            process.kill()
    wait_for_end(worker)
    assert code == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[number]
    assert len(pipeline.export()) == 6
