"""A second process reads and extracts, this one commits: nothing else changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import psutil
import pytest

from learning_pipeline.errors import ReadingProcessError
from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.model import BatchOutput, Progress, RecordBatch
from learning_pipeline.stages import TransformSpec, committing
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.pipeline import PROJECT
from learning_pipeline_tests.stages.engine import Engine

EXTRACTION = TransformSpec(
    "learning_pipeline.extraction:build_extractor", {"dead_letter_raw_bytes": 4096}
)
CONTENT = b"".join([*generate_lines(3_000, seed=9), b"{broken\n"])


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read ahead on any machine."""
    monkeypatch.setattr(committing, "CAN_READ_AHEAD", True)


@pytest.fixture
def ahead(tmp_path: Path) -> Engine:
    """An engine that always reads ahead."""
    return Engine(tmp_path, read_ahead_bytes=0, transform=EXTRACTION)


def readers() -> list[psutil.Process]:
    """The reading processes that live below this one."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "learning_pipeline.reading_process" in " ".join(child.cmdline())
    ]


def test_reading_ahead_gives_the_rows_of_reading_here(
    tmp_path: Path, ahead: Engine
) -> None:
    """Rows, counters and dead letters are the same."""
    here = Engine(tmp_path / "here")
    for engine in (here, ahead):
        engine.write(CONTENT)
    assert here.drain().counters == ahead.drain().counters
    assert here.rows() == ahead.rows()
    assert readers() == []


def test_a_reading_process_that_is_killed_costs_nothing(ahead: Engine) -> None:
    """The pass fails with the reason, the next one goes on behind the last commit."""
    ahead.write(CONTENT)

    def kill(progress: Progress) -> None:
        if progress.commit_count == 5:
            for reader in readers():
                reader.send_signal(signal.SIGKILL)

    with pytest.raises(ReadingProcessError, match="the next run goes on"):
        ahead.drain(on_commit=kill)
    assert ahead.drain().counters.event_count == 3_000
    assert len({row["offset"] for row in ahead.rows()}) == len(ahead.rows())


def test_the_reading_process_ends_with_the_pass(ahead: Engine) -> None:
    """A pass that is stopped in the middle leaves no process behind."""
    ahead.write(CONTENT)
    seen = []

    def stop(_: Progress) -> None:
        seen.extend(readers())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ahead.drain(on_commit=stop)
    assert len(seen) == 1
    assert readers() == []


def test_the_reading_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """After SIGKILL of the run nobody reads on."""
    engine = Engine(tmp_path)
    engine.write(b"".join(generate_lines(30_000, seed=9)))
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from learning_pipeline.stages import committing\n"
        "from learning_pipeline_tests.stages.engine import Engine\n"
        "from learning_pipeline_tests.stages.test_reading_ahead import EXTRACTION\n"
        "committing.CAN_READ_AHEAD = True\n"
        "engine = Engine(Path(sys.argv[1]), read_ahead_bytes=0, transform=EXTRACTION)\n"
        "engine.drain(on_commit=lambda progress: (print('go', flush=True), "
        "time.sleep(60)))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"go\n"
    (reader,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while reader.is_running() and reader.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the reading process lives on"
        time.sleep(0.05)


def noisy_extractor() -> PatternExtractor:
    """An extractor that writes to standard output while it is built."""
    print("hello")
    return PatternExtractor()


def broken_extractor() -> PatternExtractor:
    """An extractor that cannot be built."""
    message = "no such model"
    raise RuntimeError(message)


class _Breaking:
    def __call__(self, batch: RecordBatch) -> BatchOutput:
        if batch.start_offset > 0:
            message = "a bug"
            raise RuntimeError(message)
        return PatternExtractor()(batch)


def breaking_extractor() -> _Breaking:
    """An extractor that fails at its second batch."""
    return _Breaking()


@pytest.mark.parametrize(
    ("factory", "committed_count", "message"),
    [
        ("broken_extractor", 0, "no such model"),
        ("breaking_extractor", 10, "a bug"),
        ("missing_extractor", 0, "missing_extractor"),
    ],
)
def test_an_error_of_the_transform_is_told_here(
    ahead: Engine, factory: str, committed_count: int, message: str
) -> None:
    """What it read before is committed; the message says what happened."""
    ahead.write(CONTENT)
    ahead.transform = TransformSpec(f"{__name__}:{factory}")
    with pytest.raises(ReadingProcessError, match=message):
        ahead.drain()
    with ahead.store() as store:
        (checkpoint,) = store.checkpoints()
    assert checkpoint.counters.event_count == committed_count


def test_what_an_extractor_prints_is_not_taken_for_rows(ahead: Engine) -> None:
    """Standard output belongs to the frames."""
    ahead.write(CONTENT)
    ahead.transform = TransformSpec(f"{__name__}:noisy_extractor")
    assert ahead.drain().counters.event_count == 3_000


def test_a_change_of_the_file_is_noticed_through_the_pipe(ahead: Engine) -> None:
    """A file that is truncated while it is read ahead begins its next generation."""
    content = b"".join(generate_lines(20_000, seed=9))
    ahead.write(content)
    again = b"".join(generate_lines(200, seed=10))

    def truncate(progress: Progress) -> None:
        if progress.commit_count == 1 and progress.generation == 0:
            ahead.write(again)

    progress = ahead.drain(on_commit=truncate)
    assert (progress.generation, progress.offset) == (1, len(again))
    with ahead.store() as store:
        (checkpoint,) = store.checkpoints()
    assert checkpoint.counters.generation_change_count == 1


def test_a_small_rest_is_read_here(tmp_path: Path) -> None:
    """Starting a process is not worth it."""
    engine = Engine(tmp_path, read_ahead_bytes=len(CONTENT) + 1, transform=EXTRACTION)
    engine.write(CONTENT)
    with mock.patch.object(committing, "extract_ahead", side_effect=AssertionError):
        assert engine.drain().counters.event_count == 3_000
