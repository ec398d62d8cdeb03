"""Reading while the file is truncated or rewritten, or its disk fails."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from learning_pipeline.errors import (
    TelemetryFileChangedError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.telemetry import TelemetryFile, Verdict, open_telemetry_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from learning_pipeline.model import RecordBatch
    from learning_pipeline_tests.telemetry.conftest import MakeLimits, WriteFile

LINES = [b'{"n": %06d}\n' % number for number in range(500)]
CONTENT = b"".join(LINES)
LINE_BYTES = len(LINES[0])
COMMITTED = 100 * LINE_BYTES


@pytest.fixture
def telemetry_file(root: Path, write_file: WriteFile) -> Iterator[TelemetryFile]:
    """An open file with `CONTENT`."""
    write_file("a", CONTENT)
    with open_telemetry_file(root, "a") as file:
        yield file


def overwrite(path: Path, content: bytes) -> None:
    """Other content in the same inode, as `cp` does it."""
    with path.open("r+b") as file:
        file.truncate()
        file.write(content)


def truncate_in_place(path: Path) -> None:
    """Cut the file short, as copytruncate does it."""
    os.truncate(path, 0)


def truncate_a_little(path: Path) -> None:
    """Cut only what was not read yet."""
    os.truncate(path, len(CONTENT) - 1)


def rewrite_same_size(path: Path) -> None:
    """Other content of the same length."""
    overwrite(path, CONTENT[::-1])


def rewrite_longer(path: Path) -> None:
    """Other content, so that no read falls short."""
    overwrite(path, b"other\n" * 5000)


@pytest.mark.parametrize(
    "change",
    [truncate_in_place, truncate_a_little, rewrite_same_size, rewrite_longer],
)
@pytest.mark.parametrize("max_records", [1, 7, 100])
def test_a_change_while_reading_is_noticed(
    root: Path,
    write_file: WriteFile,
    make_limits: MakeLimits,
    change: Callable[[Path], None],
    max_records: int,
) -> None:
    """What was complete is yielded, the rest is not, and the error says up to where."""
    path = write_file("a", CONTENT)
    limits = make_limits(max_records=max_records, chunk_bytes=512)
    batches: list[RecordBatch] = []

    with open_telemetry_file(root, "a") as file:
        reading = file.read_batches(limits=limits)
        batches.append(next(reading))
        change(path)
        with pytest.raises(TelemetryFileChangedError) as caught:
            batches.extend(reading)

    raws = [record.raw + b"\n" for batch in batches for record in batch.records]
    assert caught.value.partition == "a"
    assert caught.value.offset == batches[-1].end_offset == len(b"".join(raws))
    assert raws == LINES[: len(raws)]
    assert 0 < len(raws) < len(LINES)


def test_the_last_batch_before_a_change_matches_only_the_old_file(
    root: Path, write_file: WriteFile, make_limits: MakeLimits
) -> None:
    """Its fingerprint comes from the bytes that were read, not from the new ones."""
    path = write_file("a", CONTENT)
    limits = make_limits(max_records=10, chunk_bytes=512)

    with open_telemetry_file(root, "a") as file:
        first = next(file.read_batches(limits=limits))
        rewrite_longer(path)
        assert file.compare(first.end_offset, first.fingerprint) is Verdict.REPLACED


@pytest.mark.parametrize(
    "content",
    [
        CONTENT[::-1],
        CONTENT[:COMMITTED].replace(b"n", b"m"),
        CONTENT[: COMMITTED - 1],
        b"",
    ],
)
def test_nothing_is_read_on_after_a_fingerprint_that_does_not_match(
    root: Path, write_file: WriteFile, make_limits: MakeLimits, content: bytes
) -> None:
    """A file that changed between comparing and reading is noticed, too."""
    write_file("a", CONTENT)
    limits = make_limits(max_records=100)
    with open_telemetry_file(root, "a") as file:
        batch = next(file.read_batches(limits=limits))
    assert batch.end_offset == COMMITTED
    write_file("a", content)

    with (
        open_telemetry_file(root, "a") as file,
        pytest.raises(TelemetryFileChangedError) as caught,
    ):
        next(file.read_batches(COMMITTED, limits=limits, fingerprint=batch.fingerprint))

    assert caught.value.offset == COMMITTED


@pytest.fixture
def fail_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Let so many reads succeed and the others fail."""
    real_pread = os.pread

    def fail_after(good_reads: int, code: int) -> None:
        left = iter(range(good_reads))

        def pread(descriptor: int, length: int, offset: int) -> bytes:
            if next(left, None) is None:
                raise OSError(code, os.strerror(code))
            return real_pread(descriptor, length, offset)

        monkeypatch.setattr(os, "pread", pread)

    return fail_after


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("good_chunks", [0, 1, 3])
def test_a_read_error_names_its_reason_after_what_was_good(
    telemetry_file: TelemetryFile,
    make_limits: MakeLimits,
    fail_reads: Callable[[int, int], None],
    code: int,
    good_chunks: int,
) -> None:
    """The lines before it are not lost with it."""
    batches: list[RecordBatch] = []
    fail_reads(2 + good_chunks, code)  # two reads look for what is before the start

    with pytest.raises(TelemetryFileUnreadableError, match=os.strerror(code)) as caught:
        batches.extend(telemetry_file.read_batches(limits=make_limits(chunk_bytes=512)))

    assert caught.value.partition == "a"
    assert sum(len(batch.records) for batch in batches) == (
        good_chunks * 512 // LINE_BYTES
    )


def test_reads_that_return_less_than_asked_for_are_completed(
    telemetry_file: TelemetryFile,
    make_limits: MakeLimits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A short read is not the end of the file; only an empty one is."""
    real_pread = os.pread
    monkeypatch.setattr(
        os, "pread", lambda fd, length, offset: real_pread(fd, min(length, 7), offset)
    )

    batches = list(telemetry_file.read_batches(limits=make_limits(chunk_bytes=512)))

    assert sum(len(batch.records) for batch in batches) == len(LINES)
