"""Reading: any bytes, however they arrive and are cut, give the same records."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_pipeline.model import DeadLetter, Fingerprint, Record, RecordBatch
from learning_pipeline.telemetry import ReadLimits, open_telemetry_file

if TYPE_CHECKING:
    from learning_pipeline_tests.telemetry.conftest import MakeLimits, WriteFile

MIB = 1 << 20
MARK = b"\xef\xbb\xbf"

bodies = (
    st.sampled_from([b"", b" ", b"\t\r", MARK, b"\0", b"a\rb", MARK + b"{}"])
    | st.binary(max_size=12)
    | st.sampled_from([1, 2, 19, 20, 21, 22, 23, 24, 40, 257, 600]).map(b"x".__mul__)
)
complete_lines = st.tuples(bodies, st.sampled_from([b"\n", b"\r\n"])).map(b"".join)
contents = st.tuples(
    st.lists(complete_lines, min_size=1, max_size=20).map(b"".join),
    st.just(b"") | bodies,
).map(b"".join)
all_limits = st.builds(
    ReadLimits,
    max_records=st.sampled_from([1, 2, 5, 100]),
    max_batch_bytes=st.sampled_from([1, 10, 80, 700]),
    max_record_bytes=st.sampled_from([1, 20, 256, 1000]),
    rejected_raw_bytes=st.integers(0, 50),
    chunk_bytes=st.integers(1, 70),
)


def naive(content: bytes, limits: ReadLimits) -> list[Record | DeadLetter]:
    """What reading all of `content` must give, the slow and obvious way."""
    outcomes: list[Record | DeadLetter] = []
    start = 0
    for line in content.split(b"\n")[:-1]:
        end = start + len(line) + 1
        raw = line[:-1] if line.endswith(b"\r") else line
        if start == 0 and raw.startswith(MARK):
            raw = raw[3:]
        if raw.strip() and len(raw) <= limits.max_record_bytes:
            outcomes.append(Record(start, end, raw))
        elif raw.strip():
            detail = f"{len(raw):,} bytes, limit {limits.max_record_bytes:,}"
            cut = raw[: limits.rejected_raw_bytes]
            outcomes.append(DeadLetter(start, end, "record_too_long", detail, cut))
        start = end
    return outcomes


def outcomes_of(batches: list[RecordBatch]) -> list[Record | DeadLetter]:
    """Everything that the batches hold, in order of offset."""
    outcomes: list[Record | DeadLetter] = []
    for batch in batches:
        outcomes += batch.records
        outcomes += batch.rejected
    return sorted(outcomes, key=lambda outcome: outcome.start_offset)


def read(
    content: bytes,
    limits: ReadLimits,
    start_offset: int = 0,
    fingerprint: Fingerprint | None = None,
) -> list[RecordBatch]:
    """The batches of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_bytes(content)
        with open_telemetry_file(Path(folder), "a") as file:
            return list(
                file.read_batches(start_offset, limits=limits, fingerprint=fingerprint)
            )


@given(content=contents, limits=all_limits, cuts=st.lists(st.integers(0, 300)))
@settings(max_examples=500)
def test_appends_and_batches_change_nothing(
    content: bytes, limits: ReadLimits, cuts: list[int]
) -> None:
    """A file read as it grows, at any limits, gives what one look at it gives."""
    batches: list[RecordBatch] = []
    offset, fingerprint = 0, None
    for size in sorted({min(cut, len(content)) for cut in cuts} | {len(content)}):
        for batch in read(content[:size], limits, offset, fingerprint):
            batches.append(batch)
            assert batch.start_offset == offset
            offset, fingerprint = batch.end_offset, batch.fingerprint

    assert outcomes_of(batches) == naive(content, limits)
    assert offset == content.rfind(b"\n") + 1


@given(content=contents, limits=all_limits)
@settings(max_examples=300)
def test_each_batch_keeps_its_bounds(content: bytes, limits: ReadLimits) -> None:
    """It ends after a newline, is not empty, and exceeds its bytes with one line."""
    for batch in read(content, limits):
        covered = content[batch.start_offset : batch.end_offset]
        records = len(batch.records) + len(batch.rejected)

        assert covered.endswith(b"\n")
        assert records <= limits.max_records
        assert records + batch.blank_count == covered.count(b"\n")
        assert len(covered) <= limits.max_batch_bytes or covered.count(b"\n") == 1


@given(content=contents, limits=all_limits)
@settings(max_examples=300)
def test_a_batch_is_as_large_as_its_bounds_allow(
    content: bytes, limits: ReadLimits
) -> None:
    """The next line would have exceeded them: no batch closes early."""
    batches = read(content, limits)
    for batch, following in pairwise(batches):
        next_end = content.index(b"\n", following.start_offset) + 1
        records = len(batch.records) + len(batch.rejected)

        assert (
            records == limits.max_records
            or next_end - batch.start_offset > limits.max_batch_bytes
        )


@given(content=contents, limits=all_limits, chunk_bytes=st.integers(1, 400))
@settings(max_examples=300)
def test_the_chunk_size_changes_nothing(
    content: bytes, limits: ReadLimits, chunk_bytes: int
) -> None:
    """Batches, rejected lines and fingerprints do not show where a read ended."""
    other = replace(limits, chunk_bytes=chunk_bytes)

    assert read(content, limits) == read(content, other)


@given(content=contents, repeats=st.integers(1, 4), limits=all_limits)
@settings(max_examples=300)
def test_each_fingerprint_is_that_of_the_content(
    content: bytes, repeats: int, limits: ReadLimits
) -> None:
    """Prefix and guard are those of the file up to the end of the batch."""
    content *= repeats

    for batch in read(content, limits):
        end = batch.end_offset
        assert batch.fingerprint == Fingerprint(
            prefix_length_bytes=min(1024, end),
            prefix_digest=blake2b(content[: min(1024, end)], digest_size=16).digest(),
            guard_length_bytes=min(256, end),
            guard_digest=blake2b(
                content[max(end - 256, 0) : end], digest_size=16
            ).digest(),
        )


@pytest.mark.parametrize("chunk_bytes", range(1, 60))
@pytest.mark.parametrize("length_bytes", [20, 21, 22, 23, 24, 25, 50])
def test_an_over_long_line_is_rejected_at_every_chunk_boundary(
    make_limits: MakeLimits, chunk_bytes: int, length_bytes: int
) -> None:
    """Its neighbours are read; up to the limit it is a record itself."""
    limits = make_limits(
        max_record_bytes=20, rejected_raw_bytes=22, chunk_bytes=chunk_bytes
    )
    content = b"before\n" + b"y" * length_bytes + b"\r\nafter\n"

    (batch,) = read(content, limits)

    assert outcomes_of([batch]) == naive(content, limits)
    assert len(batch.rejected) == (length_bytes > 20)


def test_an_over_long_torn_tail_is_left_alone(make_limits: MakeLimits) -> None:
    """It may yet be part of a line that is even longer; nothing moves past it."""
    (batch,) = read(b"a\n" + b"y" * 500, make_limits(max_record_bytes=20))

    assert batch.end_offset == 2
    assert batch.rejected == []


def test_a_batch_does_not_wait_for_a_line_that_cannot_join_it(
    root: Path,
    write_file: WriteFile,
    make_limits: MakeLimits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is committed, and its memory free, before the long line is read."""
    write_file("a", b"one\n" + b"y" * 100_000 + b"\n")
    limits = make_limits(max_batch_bytes=5000, chunk_bytes=1000)
    read_to = 0
    real_pread = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal read_to
        read_to = max(read_to, offset + length)
        return real_pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)

    with open_telemetry_file(root, "a") as file:
        batch = next(file.read_batches(limits=limits))

    assert batch.end_offset == 4
    assert read_to <= 5000


def test_the_end_may_be_set_before_the_end_of_the_file(
    root: Path, write_file: WriteFile, make_limits: MakeLimits
) -> None:
    """The line that crosses it counts as torn."""
    write_file("a", b"one\ntwo\nthree\n")

    with open_telemetry_file(root, "a") as file:
        (batch,) = file.read_batches(4, limits=make_limits(), end_offset=10)

    assert batch.records == [Record(4, 8, b"two")]
    assert batch.end_offset == 8


def test_what_is_appended_after_opening_waits_for_the_next_run(
    root: Path, write_file: WriteFile, make_limits: MakeLimits
) -> None:
    """A file that grows faster than it is read still comes to an end."""
    path = write_file("a", b"one\n")

    with open_telemetry_file(root, "a") as file:
        path.write_bytes(b"one\ntwo\n")
        (batch,) = file.read_batches(limits=make_limits())

    assert [record.raw for record in batch.records] == [b"one"]


@pytest.mark.parametrize("content", [b"", b"torn", MARK])
def test_a_file_without_a_complete_line_has_no_batch(
    make_limits: MakeLimits, content: bytes
) -> None:
    """There is nothing to commit."""
    assert read(content, make_limits()) == []


@pytest.mark.parametrize(("start", "end"), [(-1, None), (3, 2)])
def test_an_impossible_range_is_refused_at_once(
    root: Path,
    write_file: WriteFile,
    make_limits: MakeLimits,
    start: int,
    end: int | None,
) -> None:
    """Before anything is read."""
    write_file("a")

    with (
        open_telemetry_file(root, "a") as file,
        pytest.raises(ValueError, match="no range"),
    ):
        file.read_batches(start, limits=make_limits(), end_offset=end)


@pytest.mark.parametrize(
    "changes", [{"max_records": 0}, {"chunk_bytes": 0}, {"rejected_raw_bytes": -1}]
)
def test_limits_that_let_no_batch_end_are_refused(
    make_limits: MakeLimits, changes: dict[str, int]
) -> None:
    """They would loop for ever."""
    with pytest.raises(ValueError, match="must be positive"):
        make_limits(**changes)


@pytest.mark.parametrize(
    ("piece", "file_bytes", "memory_bytes"),
    [
        pytest.param(b"x" * 779 + b"\n", 32 * MIB, 2 * MIB, id="records"),
        pytest.param(b"y" * MIB, 32 * MIB, 2 * MIB, id="over-long"),
        pytest.param(b"\0" * MIB, 32 * MIB, 2 * MIB, id="hole"),
        pytest.param(b" " * MIB, 32 * MIB, 2 * MIB, id="spaces"),
        # What a chunk of one-byte lines takes, however many chunks there are.
        pytest.param(b"\n" * MIB, MIB, 24 * MIB, id="newlines"),
        pytest.param(b"ab\n" * 1024, 2 * MIB, 24 * MIB, id="tiny"),
    ],
)
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path,
    make_limits: MakeLimits,
    piece: bytes,
    file_bytes: int,
    memory_bytes: int,
) -> None:
    """Lines that cannot become records are not held, and batches not kept."""
    path = tmp_path / "a"
    with path.open("wb") as sink:
        for _ in range(file_bytes // len(piece)):
            sink.write(piece)
        sink.write(b"\n")
    limits = make_limits(max_record_bytes=MIB // 16)

    tracemalloc.start()
    try:
        with open_telemetry_file(tmp_path, "a") as file:
            for batch in file.read_batches(limits=limits):
                end_offset = batch.end_offset
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert end_offset == path.stat().st_size
    assert peak_bytes < memory_bytes
