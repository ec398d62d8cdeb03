"""Fingerprints: what became of a file since its checkpoint."""

from __future__ import annotations

import errno
import os
from hashlib import blake2b
from typing import TYPE_CHECKING

import pytest

from learning_pipeline.errors import TelemetryFileUnreadableError
from learning_pipeline.model import Fingerprint
from learning_pipeline.telemetry import Verdict, open_telemetry_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from learning_pipeline_tests.telemetry.conftest import MakeLimits, WriteFile

LINES = b"".join(b'{"n": %06d}\n' % number for number in range(300))
OFFSET = 2604


def digest(content: bytes) -> bytes:
    """BLAKE2b-128, written out: checkpoints hold it."""
    return blake2b(content, digest_size=16).digest()


def take(content: bytes, offset: int) -> Fingerprint:
    """The fingerprint of `content` at `offset`, written out."""
    return Fingerprint(
        prefix_length_bytes=min(1024, offset),
        prefix_digest=digest(content[: min(1024, offset)]),
        guard_length_bytes=min(256, offset),
        guard_digest=digest(content[max(offset - 256, 0) : offset]),
    )


def flipped(content: bytes, position: int) -> bytes:
    """`content` with one byte changed."""
    return content[:position] + b"~" + content[position + 1 :]


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (LINES, Verdict.SAME),
        (LINES[:OFFSET], Verdict.SAME),
        (LINES + b"more\n", Verdict.SAME),
        (flipped(LINES, OFFSET), Verdict.SAME),
        (LINES[: OFFSET - 1], Verdict.TRUNCATED),
        (b"", Verdict.TRUNCATED),
        (flipped(LINES, 0), Verdict.REPLACED),
        (flipped(LINES, 1023), Verdict.REPLACED),
        (b"x" * 9000, Verdict.REPLACED),
        (flipped(LINES, OFFSET - 1), Verdict.REWRITTEN),
        (flipped(LINES, OFFSET - 256), Verdict.REWRITTEN),
    ],
)
def test_the_verdict_says_what_became_of_the_file(
    root: Path, write_file: WriteFile, content: bytes, verdict: Verdict
) -> None:
    """Growth is not a change; what was committed must still be there."""
    write_file("a.jsonl", content)

    with open_telemetry_file(root, "a.jsonl") as file:
        assert file.compare(OFFSET, take(LINES, OFFSET)) is verdict


@pytest.mark.parametrize("offset", [1, 13, 255, 256, 257, 1023, 1024, 1025])
def test_a_checkpoint_near_the_start_is_compared_in_full(
    root: Path, write_file: WriteFile, offset: int
) -> None:
    """A change of any committed byte of a short checkpoint is a replacement."""
    fingerprint = take(LINES, offset)
    write_file("a.jsonl", LINES)
    with open_telemetry_file(root, "a.jsonl") as file:
        assert file.compare(offset, fingerprint) is Verdict.SAME

    write_file("a.jsonl", flipped(LINES, min(offset, 1024) - 1))
    with open_telemetry_file(root, "a.jsonl") as file:
        assert file.compare(offset, fingerprint) is Verdict.REPLACED


def test_a_file_of_which_nothing_was_read_is_the_same(
    root: Path, write_file: WriteFile
) -> None:
    """A checkpoint at offset 0 knows no bytes that could differ."""
    write_file("a.jsonl", b"")

    with open_telemetry_file(root, "a.jsonl") as file:
        assert file.compare(0, None) is Verdict.SAME
        assert file.compare(1, None) is Verdict.TRUNCATED


def test_the_comparison_sees_the_file_as_it_is_now(
    root: Path, write_file: WriteFile
) -> None:
    """Another run may have committed beyond the size at opening."""
    path = write_file("a.jsonl", LINES[:13])

    with open_telemetry_file(root, "a.jsonl") as file:
        path.write_bytes(LINES)
        assert file.compare(OFFSET, take(LINES, OFFSET)) is Verdict.SAME


def test_a_file_is_known_again_by_its_landmarks(
    root: Path, write_file: WriteFile
) -> None:
    """Also a file that is shorter; one that begins alike and goes on otherwise not."""
    write_file("a.jsonl", LINES)

    with open_telemetry_file(root, "a.jsonl") as file:
        landmarks = file.landmarks(b"", len(LINES))
        assert file.landmarks(file.landmarks(b"", 100), len(LINES)) == landmarks
        assert file.has_landmarks(landmarks)
    write_file("a.jsonl", LINES[:1000])
    with open_telemetry_file(root, "a.jsonl") as file:
        assert file.has_landmarks(landmarks)
    write_file("a.jsonl", LINES[:600] + b"x" + LINES[601:])
    with open_telemetry_file(root, "a.jsonl") as file:
        assert not file.has_landmarks(landmarks)


@pytest.mark.parametrize(
    "look",
    [
        lambda file: file.compare(OFFSET, take(LINES, OFFSET)),
        lambda file: file.has_landmarks(bytes(8)),
        lambda file: file.landmarks(b"", 100),
        lambda file: file.end_digest(),
    ],
)
def test_a_read_error_while_comparing_is_no_verdict(
    root: Path,
    write_file: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
    look: Callable[[object], object],
) -> None:
    """A disk that fails must not pass for a file that was replaced."""
    write_file("a.jsonl", LINES)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with open_telemetry_file(root, "a.jsonl") as file:
        monkeypatch.setattr(os, "pread", fail)
        with pytest.raises(TelemetryFileUnreadableError, match="check the disk"):
            look(file)


@pytest.mark.parametrize("length_bytes", [0, 5, 700, 1024, 3000])
def test_a_file_that_was_only_looked_at_is_known_again(
    root: Path, write_file: WriteFile, make_limits: MakeLimits, length_bytes: int
) -> None:
    """Its prefix serves at offset 0, and spoils no fingerprint that follows it."""
    path = write_file("a.jsonl", LINES[:length_bytes])
    with open_telemetry_file(root, "a.jsonl") as file:
        looked_at = file.prefix_fingerprint()
    path.write_bytes(LINES)

    with open_telemetry_file(root, "a.jsonl") as file:
        batches = list(
            file.read_batches(
                limits=make_limits(chunk_bytes=100), fingerprint=looked_at
            )
        )
        assert file.compare(0, looked_at) is Verdict.SAME

    for batch in batches:
        assert batch.fingerprint == take(LINES, batch.end_offset)
