"""The physical files of a partition: found, ordered, opened, read to their ends."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learning_pipeline.errors import TelemetryFileUnreadableError
from learning_pipeline.model import Compression
from learning_pipeline.telemetry import (
    Listings,
    ReadLimits,
    Tail,
    discover,
    open_telemetry_file,
    telemetry_matcher,
)
from learning_pipeline_tests.telemetry.conftest import WriteFile

LINES = b"".join(
    b'{"n": %06d, "x": "%s"}\n' % (n, b"x" * (n % 300)) for n in range(900)
)
LIMITS = ReadLimits(max_records=50, max_batch_bytes=2**20, max_record_bytes=2**16)
PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.compress,
    Compression.ZSTANDARD: zstandard.ZstdCompressor().compress,
}
packed = pytest.mark.parametrize("compression", list(Compression))


def none_known(_: Collection[str]) -> tuple[str, ...]:
    """Nothing was read before."""
    return ()


def listings(root: Path) -> Listings:
    """With the usual pattern."""
    return Listings(root, telemetry_matcher(["**/*.jsonl"]))


def test_rotated_files_are_listed_oldest_first_and_the_active_one_last(
    root: Path, write_file: WriteFile
) -> None:
    """Names of one kind tell the order; between kinds the time of writing does."""
    for age, name in enumerate(
        ["a.jsonl", "a.jsonl.1", "a-20260110.jsonl", "a.jsonl.2.gz", "a-20260109.jsonl"]
    ):
        path = write_file(name, b"{}\n")
        os.utime(path, ns=(0, 10**18 - age * 10**9))
    write_file("ab.jsonl.1")
    write_file("b.jsonl")
    found = listings(root).files_of("a.jsonl", none_known)
    assert [file.key for file in found.files] == [
        "a-20260109.jsonl",
        "a.jsonl.2.gz",
        "a-20260110.jsonl",
        "a.jsonl.1",
        "a.jsonl",
    ]
    assert [file.is_active for file in found.files] == [False] * 4 + [True]


def test_rotated_files_are_no_partitions(root: Path, write_file: WriteFile) -> None:
    """One partition, with all its files, also when only rotated ones are there."""
    for name in ("a.jsonl", "a.jsonl.1", "a-20260109.jsonl", "b.jsonl.1", "c.txt.1"):
        write_file(name, b"{}\n")
    (root / "a.jsonl.2").mkdir()
    (root / "a.jsonl.3").symlink_to("a.jsonl")
    found = discover(root, ["**/*.jsonl"])
    assert [file.partition for file in found.files] == ["a.jsonl", "b.jsonl"]
    assert [len(file.files) for file in found.files] == [3, 1]
    assert [file.size_bytes for file in found.files] == [3, 0]
    assert found.problems == []


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a.jsonl.1").rename(root / "a.jsonl.2"),
        lambda root: (root / "a.jsonl.1").unlink(),
        lambda root: (root / "a.jsonl").write_bytes(b"{}\n{}\n"),
        lambda root: (root / "a.jsonl.2").write_bytes(b"{}\n"),
        lambda root: os.utime(root / "a.jsonl.1", ns=(0, 1)),
    ],
    ids=["renamed", "deleted", "grown", "new", "touched"],
)
def test_the_signature_changes_with_any_of_the_files(
    root: Path, write_file: WriteFile, change: Callable[[Path], object]
) -> None:
    """Discovery and a run's own look agree on it."""
    write_file("a.jsonl", b"{}\n")
    write_file("a.jsonl.1", b"{}\n")
    (before,) = discover(root, ["**/*.jsonl"]).files
    look = listings(root)
    assert look.files_of("a.jsonl", none_known).signature == before.signature
    change(root)
    (after,) = discover(root, ["**/*.jsonl"]).files
    assert after.signature != before.signature
    assert look.files_of("a.jsonl", none_known).signature == after.signature


@packed
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    reads=st.lists(st.tuples(st.integers(0, len(LINES) + 9), st.integers(0, 70_000)))
)
def test_compressed_content_reads_as_the_plain_file_does(
    root: Path,
    write_file: WriteFile,
    compression: Compression,
    reads: list[tuple[int, int]],
) -> None:
    """At any offset, in any order."""
    name = f"a.jsonl.1{compression.value}"
    write_file(name, PACK[compression](LINES))
    with open_telemetry_file(root, name, compression) as file:
        assert file.size_bytes == len(LINES)
        for offset, length_bytes in reads:
            expected = LINES[offset : offset + length_bytes]
            assert file._read_at(offset, length_bytes) == expected


@packed
def test_several_frames_in_a_row_are_one_content(
    root: Path, write_file: WriteFile, compression: Compression
) -> None:
    """As `cat a.gz b.gz` makes them."""
    halves = LINES[:1000], LINES[1000:]
    name = f"a.jsonl{compression.value}"
    write_file(name, b"".join(map(PACK[compression], halves)))
    with open_telemetry_file(root, name, compression) as file:
        assert file._read_at(0, len(LINES) + 1) == LINES


@packed
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "plain"])
def test_damaged_compressed_content_is_refused_before_anything_is_read(
    root: Path, write_file: WriteFile, compression: Compression, damage: str
) -> None:
    """The message says what to do."""
    whole = PACK[compression](LINES)
    middle = len(whole) // 2
    content = {
        "cut": whole[:-5],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "empty": b"",
        "plain": LINES,
    }[damage]
    write_file("a", content)
    if damage == "flipped" and compression is Compression.ZSTANDARD:
        # Without a checksum a frame may decompress to something else.
        content = whole[:middle] + bytes(64) + whole[middle + 64 :]
        write_file("a", content)
    with pytest.raises(
        TelemetryFileUnreadableError, match=r"damaged or incomplete.*restore the file"
    ):
        open_telemetry_file(root, "a", compression)


def test_the_memory_of_a_bomb_stays_bounded(root: Path, write_file: WriteFile) -> None:
    """A few kilobytes that decompress to a gigabyte are read past, piece by piece."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(bytes(2**20)) for _ in range(64)]
    write_file("a.jsonl.gz", b"".join(pieces) + packer.flush())
    with open_telemetry_file(root, "a.jsonl.gz", Compression.GZIP) as file:
        (batch,) = file.read_batches(limits=LIMITS, tail=Tail.TAKE)
    assert batch.end_offset == file.size_bytes == 64 * 2**20
    assert [letter.reason for letter in batch.rejected] == ["record_too_long"]


@pytest.mark.parametrize(
    ("end", "tail", "taken"),
    [
        (b'{"a": 1}', Tail.LEAVE, False),
        (b'{"a": 1}', Tail.TAKE_OBJECT, True),
        (b'{"a": 1} \t', Tail.TAKE_OBJECT, True),
        (b'{"a": 1', Tail.TAKE_OBJECT, False),
        (b"[1]", Tail.TAKE_OBJECT, False),
        (b"12", Tail.TAKE_OBJECT, False),
        (b"\xff", Tail.TAKE_OBJECT, False),
        (b'{"a": 1', Tail.TAKE, True),
        (b"x" * 70_000, Tail.TAKE, True),
    ],
)
def test_the_last_line_without_a_newline_is_taken_when_it_is_the_last(
    root: Path, write_file: WriteFile, end: bytes, tail: Tail, *, taken: bool
) -> None:
    """Its range ends where the file does."""
    write_file("a.jsonl", LINES + end)
    with open_telemetry_file(root, "a.jsonl") as file:
        batches = list(file.read_batches(limits=LIMITS, tail=tail))
    last = batches[-1]
    assert last.end_offset == len(LINES) + (len(end) if taken else 0)
    if taken:
        outcome = last.records[-1] if last.records else last.rejected[-1]
        assert (outcome.start_offset, outcome.end_offset) == (
            len(LINES),
            len(LINES + end),
        )
