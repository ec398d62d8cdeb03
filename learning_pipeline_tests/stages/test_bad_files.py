"""A corpus of nasty files, file names and partition keys, each with its outcome."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from learning_pipeline.errors import (
    InvalidPartitionKeyError,
    TelemetryError,
    TelemetryFileMissingError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.store import StageSession, patterns
from learning_pipeline.telemetry import discover, open_telemetry_file
from learning_pipeline_tests.extraction.extraction_records import step
from learning_pipeline_tests.stages.engine import STAGE, Engine

LINE = step() + b"\n"
MARK = b"\xef\xbb\xbf"
PATTERNS = ("**/*.jsonl",)
HOLE_BYTES = 64 * 1024 * 1024
NOBODY = 65_534


def hole(path: Path) -> None:
    """Nothing but a hole, then a newline and a line."""
    with path.open("wb") as file:
        file.seek(HOLE_BYTES)
        file.write(b"\n" + LINE)


CONTENTS: dict[str, tuple[bytes | Callable[[Path], None], int, int, int]] = {
    "nothing": (b"", 0, 0, 0),
    "a newline": (b"\n", 0, 0, 0),
    "newlines": (b"\r\n" * 1_000, 0, 0, 0),
    "spaces": (b" " * 1_000, 0, 0, 1_000),
    "a torn line": (LINE[:-1], 0, 0, len(LINE) - 1),
    "a bracket": (b"{", 0, 0, 1),
    "a byte order mark": (MARK, 0, 0, 3),
    "a byte order mark and a newline": (MARK + b"\n", 0, 0, 0),
    "a byte order mark and a line": (MARK + LINE, 1, 0, 0),
    "half a byte order mark and a line": (MARK[:2] + LINE, 0, 1, 0),
    "two byte order marks and a line": (MARK * 2 + LINE, 0, 1, 0),
    "UTF-16": (LINE.decode().encode("utf-16"), 0, 1, 1),
    "a line and a torn one": (LINE + LINE[:9], 1, 0, 9),
    "lines that end with CRLF": ((LINE[:-1] + b"\r\n") * 3, 3, 0, 0),
    "lines that end with CR": ((LINE[:-1] + b"\r") * 3, 0, 0, 3 * len(LINE)),
    "NULs": (b"\0" * 100_000, 0, 0, 100_000),
    "NULs and newlines": ((b"\0" * 99 + b"\n") * 5, 0, 5, 0),
    "a hole of 64 MiB and a line": (hole, 1, 1, 0),
    "the magic number of gzip": (b"\x1f\x8b\x08\n" * 3, 0, 3, 0),
    "an indented object": (b'{\n  "event": "heartbeat"\n}\n', 0, 3, 0),
    "an array of objects": (b"[\n" + LINE + b"]\n", 1, 2, 0),
    "a script": (b"#!/bin/sh\nrm -rf /\n", 0, 2, 0),
}
"""What a file holds; the patterns, dead letters and unread bytes that it gives."""


@contextlib.contextmanager
def opened(engine: Engine) -> Iterator[StageSession]:
    """One session for many files."""
    with (
        engine.store() as store,
        store.session(
            stage=STAGE, table=patterns, run_id="run", history_count=20
        ) as session,
    ):
        yield session


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine with nothing read."""
    return Engine(tmp_path)


def test_files_of_odd_content_are_read_as_the_table_says(engine: Engine) -> None:
    """Each is found, its complete lines are accounted for, the rest is left alone."""
    keys = {f"{number}.jsonl": name for number, name in enumerate(CONTENTS, start=10)}
    for key, name in keys.items():
        content = CONTENTS[name][0]
        if isinstance(content, bytes):
            engine.write(content, key)
        else:
            content(engine.root / key)
    files = discover(engine.root, PATTERNS).files
    assert [file.partition for file in files] == list(keys)
    found: dict[str, tuple[int, int, int]] = {}
    with opened(engine) as session:
        for file in files:
            _, progress = engine.drain_into(session, file.partition)
            counters = progress.counters
            found[keys[file.partition]] = (
                counters.row_count,
                counters.dead_letter_count,
                file.size_bytes - progress.offset,
            )
            assert counters.record_count == (
                counters.row_count + counters.dead_letter_count
            )
            _, again = engine.drain_into(session, file.partition)
            assert again.commit_count == 0
    assert found == {name: row[1:] for name, row in CONTENTS.items()}


def a_socket(path: Path) -> None:
    """A socket's name; too long a path is avoided by going there."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def a_device(path: Path) -> None:
    """What `/dev/zero` is, which would never end."""
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


def a_link_to(target: str) -> Callable[[Path], None]:
    """A symbolic link."""
    return lambda path: path.symlink_to(target)


NO_FILE = "not_a_regular_file"
LINK = "symlink"
NO_FILES: dict[str, tuple[Callable[[Path], object], str, type[TelemetryError], str]] = {
    "a directory": (Path.mkdir, NO_FILE, TelemetryFileUnreadableError, "a directory"),
    "a FIFO": (os.mkfifo, NO_FILE, TelemetryFileUnreadableError, "a FIFO"),
    "a socket": (a_socket, NO_FILE, TelemetryFileUnreadableError, "a socket"),
    "a device": (a_device, NO_FILE, TelemetryFileUnreadableError, "a device"),
    "a link to a file": (
        a_link_to("healthy.jsonl"),
        LINK,
        InvalidPartitionKeyError,
        "a symbolic link",
    ),
    "a link to a directory": (
        a_link_to("."),
        LINK,
        InvalidPartitionKeyError,
        "a symbolic link",
    ),
    "a link to nothing": (
        a_link_to("nowhere"),
        LINK,
        InvalidPartitionKeyError,
        "a symbolic link",
    ),
    "a link to itself": (
        lambda path: path.symlink_to(path.name),
        LINK,
        InvalidPartitionKeyError,
        "a symbolic link",
    ),
    "a link out of the root": (
        a_link_to("/etc/passwd"),
        LINK,
        InvalidPartitionKeyError,
        "a symbolic link",
    ),
    "a link to a device": (
        a_link_to("/dev/zero"),
        LINK,
        InvalidPartitionKeyError,
        "a symbolic link",
    ),
}
"""What stands there; why it is left out, what a run of it raises and says."""


def test_what_is_no_file_is_left_out_and_refused(engine: Engine) -> None:
    """Discovery says why, a run of it says why, and the one file there is read."""
    engine.write(LINE, "healthy.jsonl")
    keys = {f"{number}.jsonl": name for number, name in enumerate(NO_FILES, start=10)}
    for key, name in keys.items():
        NO_FILES[name][0](engine.root / key)
    found = discover(engine.root, PATTERNS)
    assert [file.partition for file in found.files] == ["healthy.jsonl"]
    assert {keys[each.path]: each.reason for each in found.problems} == {
        name: reason for name, (_, reason, _, _) in NO_FILES.items()
    }
    with opened(engine) as session:
        for key, name in keys.items():
            _, _, expected, said = NO_FILES[name]
            with pytest.raises(expected, match=re.escape(said)):
                engine.drain_into(session, key)
        _, progress = engine.drain_into(session, "healthy.jsonl")
    assert progress.run_row_count == 1
    with engine.store() as store:
        assert [each.partition for each in store.checkpoints()] == ["healthy.jsonl"]


def test_a_hard_link_is_a_file_of_its_own(engine: Engine) -> None:
    """Two names for the same bytes are two partitions."""
    engine.write(LINE)
    (engine.root / "b.jsonl").hardlink_to(engine.root / "a.jsonl")
    assert len(discover(engine.root, PATTERNS).files) == 2
    assert [engine.drain(each).run_row_count for each in ("a.jsonl", "b.jsonl")] == [
        1,
        1,
    ]


@pytest.fixture
def public_root() -> Iterator[Path]:
    """A telemetry root that every user of the machine can enter."""
    root = Path(tempfile.mkdtemp(prefix="lp-telemetry-"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's power to read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("key", "closed"), [("a.jsonl", "a.jsonl"), ("folder/b.jsonl", "folder")]
)
def test_what_may_not_be_read_is_said_to_be_so(
    public_root: Path, key: str, closed: str
) -> None:
    """A file is found and refused when opened; a folder is a problem when listed."""
    (public_root / "folder").mkdir()
    for path in ("a.jsonl", "folder/b.jsonl"):
        (public_root / path).write_bytes(LINE)
    (public_root / closed).chmod(0)
    with as_nobody():
        found = discover(public_root, PATTERNS)
        with pytest.raises(TelemetryFileUnreadableError, match="Permission denied"):
            open_telemetry_file(public_root, key)
    assert "a.jsonl" in {file.partition for file in found.files}
    reasons = [(each.path, each.reason) for each in found.problems]
    assert reasons == ([("folder", "unreadable")] if closed == "folder" else [])


NAMES: dict[bytes, str | None] = {
    b"a\nb.jsonl": "a%0Ab.jsonl",
    b"a\rb.jsonl": "a%0Db.jsonl",
    b"we, [all].jsonl": "we%2C%20%5Ball%5D.jsonl",
    b"\"q'u`.jsonl": "%22q%27u%60.jsonl",
    b"100%.jsonl": "100%25.jsonl",
    b"%2F.jsonl": "%252F.jsonl",
    b"%2e%2e%2fetc.jsonl": "%252e%252e%252fetc.jsonl",
    b"\xff\xfe.jsonl": "%FF%FE.jsonl",
    b"-rf.jsonl": "%2Drf.jsonl",
    b"--help.jsonl": "%2D-help.jsonl",
    b"a...b.jsonl": "a%2E%2E%2Eb.jsonl",
    b"a..b.jsonl": "a..b.jsonl",
    b"*?.jsonl": "%2A%3F.jsonl",
    b"{a,b}.jsonl": "%7Ba%2Cb%7D.jsonl",
    b" .jsonl": "%20.jsonl",
    b"~.jsonl": "~.jsonl",
    b"$HOME.jsonl": "%24HOME.jsonl",
    b"$(reboot).jsonl": "%24%28reboot%29.jsonl",
    b"a\\b.jsonl": "a%5Cb.jsonl",
    b"\x1b[31m.jsonl": "%1B%5B31m.jsonl",
    b"\x7f.jsonl": "%7F.jsonl",
    b"#&;<>|.jsonl": "%23%26%3B%3C%3E%7C.jsonl",
    b"NULL.jsonl": "NULL.jsonl",
    b"'; DROP TABLE patterns; --.jsonl": (
        "%27%3B%20DROP%20TABLE%20patterns%3B%20--.jsonl"
    ),
    "événement ☃.jsonl".encode(): "événement%20☃.jsonl",
    "\u00e9.jsonl".encode(): "\u00e9.jsonl",
    "e\u0301.jsonl".encode(): "e\u0301.jsonl",
    "\u202egpj.jsonl".encode(): "%E2%80%AEgpj.jsonl",
    "\u200b.jsonl".encode(): "%E2%80%8B.jsonl",
    "\U0001f600.jsonl".encode(): "\U0001f600.jsonl",
    b"x" * 249 + b".jsonl": "x" * 249 + ".jsonl",
    b"\xff" * 249 + b".jsonl": "%FF" * 249 + ".jsonl",
    b"a.jsonl.jsonl": "a.jsonl.jsonl",
    b".hidden.jsonl": None,
    b".jsonl": None,
    b"A.JSONL": None,
    b"a.jsonl ": None,
    b"a.jsonl\n": None,
    b"a.jsonl~": None,
}
"""A file's name, and its partition key; None when it is no telemetry."""


def test_a_file_of_any_name_is_read_under_the_key_of_the_table(engine: Engine) -> None:
    """All in one folder; found, drained, and exported under just these keys."""
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(engine.root) + b"/" + name)).write_bytes(LINE)
    keys = sorted(key for key in NAMES.values() if key)
    found = discover(engine.root, PATTERNS)
    assert [file.partition for file in found.files] == keys
    assert found.problems == []
    with opened(engine) as session:
        for key in keys:
            _, progress = engine.drain_into(session, key)
            assert progress.run_row_count == 1
    assert [row["partition"] for row in engine.rows()] == keys


KEYS: dict[str, tuple[type[TelemetryError], str]] = {
    "": (InvalidPartitionKeyError, "it is empty"),
    "/": (InvalidPartitionKeyError, "it is absolute"),
    "/etc/passwd": (InvalidPartitionKeyError, "it is absolute"),
    "//a.jsonl": (InvalidPartitionKeyError, "it is absolute"),
    "%2Fetc%2Fpasswd": (InvalidPartitionKeyError, "it is absolute"),
    ".": (InvalidPartitionKeyError, "a segment `.` or `..`"),
    "..": (InvalidPartitionKeyError, "a segment `.` or `..`"),
    "../telemetry/a.jsonl": (InvalidPartitionKeyError, "a segment `.` or `..`"),
    "folder/../a.jsonl": (InvalidPartitionKeyError, "a segment `.` or `..`"),
    "folder/..": (InvalidPartitionKeyError, "a segment `.` or `..`"),
    "./a.jsonl": (InvalidPartitionKeyError, "a segment `.` or `..`"),
    "%2E%2E/state.db": (InvalidPartitionKeyError, "a segment `.` or `..`"),
    "folder//b.jsonl": (InvalidPartitionKeyError, "an empty segment"),
    "a.jsonl/": (InvalidPartitionKeyError, "an empty segment"),
    "a.jsonl\0": (InvalidPartitionKeyError, "it holds a NUL"),
    "a.jsonl%00": (InvalidPartitionKeyError, "it holds a NUL"),
    "x" * 1_001: (InvalidPartitionKeyError, "1,001 characters"),
    "%FF" * 334: (InvalidPartitionKeyError, "1,002 characters"),
    "a.jsonl%": (InvalidPartitionKeyError, "two hexadecimal digits"),
    "%zz.jsonl": (InvalidPartitionKeyError, "two hexadecimal digits"),
    "%61.jsonl": (InvalidPartitionKeyError, "did you mean 'a.jsonl'?"),
    "a%2ejsonl": (InvalidPartitionKeyError, "did you mean 'a.jsonl'?"),
    "folder%2Fb.jsonl": (InvalidPartitionKeyError, "did you mean 'folder/b.jsonl'?"),
    "a%0ab.jsonl": (InvalidPartitionKeyError, "did you mean 'a%0Ab.jsonl'?"),
    "a b.jsonl": (InvalidPartitionKeyError, "did you mean 'a%20b.jsonl'?"),
    "a,b.jsonl": (InvalidPartitionKeyError, "did you mean 'a%2Cb.jsonl'?"),
    "[a].jsonl": (InvalidPartitionKeyError, "did you mean '%5Ba%5D.jsonl'?"),
    "a...b.jsonl": (InvalidPartitionKeyError, "did you mean 'a%2E%2E%2Eb.jsonl'?"),
    "-a.jsonl": (InvalidPartitionKeyError, "did you mean '%2Da.jsonl'?"),
    "*.jsonl": (InvalidPartitionKeyError, "did you mean '%2A.jsonl'?"),
    "a.jsonl\n": (InvalidPartitionKeyError, "did you mean 'a.jsonl%0A'?"),
    "\ud800.jsonl": (InvalidPartitionKeyError, "characters that no file name has"),
    "gone.jsonl": (TelemetryFileMissingError, "restore it or delete the partition"),
    "A.jsonl": (TelemetryFileMissingError, "restore it or delete the partition"),
    "folder/a.jsonl": (TelemetryFileMissingError, "restore it or delete"),
    "a.jsonl/b.jsonl": (TelemetryFileMissingError, "restore it or delete"),
    "x" * 256: (TelemetryFileMissingError, "File name too long"),
    "/".join(["x" * 99] * 10): (TelemetryFileMissingError, "restore it or delete"),
    "folder": (TelemetryFileUnreadableError, "is a directory"),
}
"""A key that somebody may ask for; what is raised, and what is said."""


def test_keys_of_no_file_are_refused_before_anything_is_claimed(
    engine: Engine,
) -> None:
    """The message says what is wrong; the database knows nothing of the key."""
    (engine.root / "folder").mkdir()
    for partition in ("a.jsonl", "folder/b.jsonl"):
        engine.write(LINE, partition)
    with opened(engine) as session:
        for key, (expected, said) in KEYS.items():
            with pytest.raises(TelemetryError, match=re.escape(said)) as caught:
                engine.drain_into(session, key)
            assert (caught.value.partition, type(caught.value)) == (key, expected)
    with engine.store() as store:
        assert store.checkpoints() == []


def test_the_corpus_is_as_large_as_promised() -> None:
    """Twenty files and keys, and more."""
    assert len(CONTENTS) + len(NO_FILES) >= 20
    assert len(NAMES) + len(KEYS) >= 20
