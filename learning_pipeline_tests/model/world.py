"""The files, as writers, rotators and people leave them; knows nothing of reading."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import zstandard

from learning_pipeline_tests.model.lines import bad_line, good_line, outcome

BEGAN = datetime(2024, 1, 1, 12, tzinfo=UTC)
COPY_SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(eq=False)
class File:
    """One file below the telemetry root.

    Attributes:
        content: Its bytes, before compression.
        compression: The end of its name that says how it is compressed, or nothing.
        copy_of: The file that this one is an unfinished copy of.
    """

    content: bytes
    compression: str = ""
    copy_of: File | None = None

    @property
    def is_clean(self) -> bool:
        """Whether its last line is whole, with a newline or without."""
        end = self.content.rfind(b"\n") + 1
        return not outcome(self.content[end:]).dead_letters


@dataclass
class Naming:
    """How rotated files of a partition are called.

    Attributes:
        pattern: With `{}` for the number or time.
        stamp: The format of the time; None when they are numbered.
    """

    pattern: str
    stamp: str | None = None


NAMINGS = (
    Naming("{stem}.jsonl.{}"),
    Naming("{stem}.{}.jsonl"),
    Naming("{stem}.jsonl-{}", "%Y%m%d"),
    Naming("{stem}-{}.jsonl", "%Y%m%dT%H%M%S"),
    Naming("{stem}.jsonl.{}", "%Y-%m-%d_%H-%M-%S"),
)


@dataclass
class World:
    """One partition's files, and everything that may be done to them.

    Every change takes two numbers, which choose among what it may do, and tells
    whether it could be done.

    Attributes:
        root: The telemetry root.
        stem: The partition's name without `.jsonl`.
        naming: How its rotated files are called.
        header: Bytes that each new file begins with.
    """

    root: Path
    stem: str
    naming: Naming
    header: bytes = b""
    rotated: dict[int, File] = field(default_factory=dict)
    """By age: the higher, the older."""
    active: File | None = None
    away: list[File] = field(default_factory=list)
    pending: File | None = None
    _rest: bytes = b""
    _line_count: int = 0
    _seconds: int = 0
    _days: int = 0

    @property
    def partition(self) -> str:
        """The partition key."""
        return f"{self.stem}.jsonl"

    def files(self) -> list[tuple[File, bool]]:
        """All files, oldest first, and whether each is the active one."""
        old = [(self.rotated[age], False) for age in sorted(self.rotated, reverse=True)]
        return [*old, (self.active, True)] if self.active else old

    # What a writer does.

    def append(self, x: int, y: int) -> bool:
        """Whole lines."""
        self._write(self._new_lines(1 + x % 3, y))
        return True

    def append_part(self, x: int, y: int) -> bool:
        """The beginning of a line; or all of it, but for the newline."""
        line = self._new_lines(1, y)
        cut = len(line) - 1 if x % 3 == 0 else 1 + x % (len(line) - 1)
        self._write(line[:cut])
        self._rest = line[cut:]
        return True

    def complete(self, _x: int, _y: int) -> bool:
        """The rest of a line."""
        if self.active is None or not self._rest:
            return False
        self._write(b"")
        return True

    def grow_rotated(self, x: int, y: int) -> bool:
        """Lines into a file that was rotated away, by a writer that has it open."""
        ages = [age for age, file in self.rotated.items() if not file.compression]
        ages = [age for age in ages if self._has_no_copies(self.rotated[age])]
        if not ages or self.pending:
            return False
        age = min(ages)
        file = self.rotated[age]
        if not file.is_clean:
            return False
        newline = b"" if file.content.endswith(b"\n") or not file.content else b"\n"
        file.content += newline + self._new_lines(1 + x % 2, y)
        self._store(age)
        return True

    # What a rotator does.

    def rotate(self, x: int, y: int) -> bool:
        """By rename; a new file follows at once, or with the next line."""
        if not self._may_rotate():
            return False
        assert self.active is not None
        age = self._make_room()
        self._path(None).rename(self._path(age))
        self.rotated[age], self.active = self.active, None
        if x % 3:
            self.append(x, y)
        elif x % 2:
            self.active = File(b"")
            self._store(None)
        return True

    def rotate_often(self, x: int, y: int) -> bool:
        """Several times between two runs."""
        done = [self.rotate(1 + 3 * each, y) for each in range(2 + x % 2)]
        return all(done)

    def copy_and_truncate(self, x: int, y: int) -> bool:
        """With nothing in between."""
        return self.begin_copy(x, y) and self.end_copy(x, y)

    def begin_copy(self, x: int, _y: int) -> bool:
        """Copy a part of the active file to a rotated name."""
        if not self._may_rotate():
            return False
        assert self.active is not None
        age = self._make_room()
        size = int(len(self.active.content) * COPY_SHARES[x % len(COPY_SHARES)])
        self.pending = File(self.active.content[:size], copy_of=self.active)
        self.rotated[age] = self.pending
        self._store(age)
        return True

    def end_copy(self, x: int, y: int) -> bool:
        """Copy the rest, and truncate; or give up."""
        if self.pending is None or self.pending.copy_of is None:
            return False
        assert self.active is not None
        if x % 5 == 4:
            self.pending = None
            return True
        if not self.active.is_clean:
            self.complete(x, y)
        self.pending.content = self.active.content
        self.pending.copy_of = None
        self._store(self._age_of(self.pending))
        if x % 3 == 2:  # lost by the rotator, unless it was read in time
            self._write(self._new_lines(1, y))
        self.pending = None
        self._forget_copies(self.active)
        self.active.content, self._rest = b"", b""
        self._store(None)
        if x % 2:
            self.append(x, y)
        return True

    def begin_compression(self, x: int, y: int) -> bool:
        """Half of a compressed twin."""
        ages = [age for age, file in self.rotated.items() if file.content]
        ages = [age for age in ages if not self.rotated[age].compression]
        ages = [age for age in ages if not self.rotated[age].copy_of]
        if not ages or self.pending:
            return False
        age = sorted(ages)[x % len(ages)]
        file = self.rotated[age]
        if not file.is_clean:
            return False
        self.pending = file
        twin = self._path(age).with_name(self._path(age).name + (".gz", ".zst")[y % 2])
        packed = _packed(file.content, (".gz", ".zst")[y % 2])
        self._put(twin, packed[: len(packed) // 2])
        return True

    def end_compression(self, _x: int, _y: int) -> bool:
        """The other half; the plain file goes."""
        if self.pending is None or self.pending.copy_of:
            return False
        age = self._age_of(self.pending)
        assert age is not None
        plain = self._path(age)
        twin = next(
            plain.with_name(plain.name + end)
            for end in (".gz", ".zst")
            if plain.with_name(plain.name + end).exists()
        )
        self.pending.compression = twin.suffix
        self._store(age)
        plain.unlink()
        self.pending = None
        return True

    def compress(self, x: int, y: int) -> bool:
        """With nothing in between."""
        return self.begin_compression(x, y) and self.end_compression(x, y)

    # What people do.

    def replace(self, x: int, y: int) -> bool:
        """Another file, renamed over the active one."""
        if self.active is None or self.pending:
            return False
        self._forget_copies(self.active)
        self.active, self._rest = None, b""
        self.active = File(self.header + self._new_lines(1 + x % 4, y))
        beside = self.root / "beside"
        self._put(beside, self.active.content)
        beside.rename(self._path(None))
        return True

    def truncate(self, x: int, y: int) -> bool:
        """To nothing; new lines follow at once, or later."""
        if self.active is None or self.pending:
            return False
        self._forget_copies(self.active)
        self.active.content, self._rest = b"", b""
        self._store(None)
        if x % 2:
            self.append(x, y)
        return True

    def cut_off(self, x: int, y: int) -> bool:
        """To a part, at any byte; other lines follow."""
        if self.active is None or self.pending or not self.active.content:
            return False
        self._forget_copies(self.active)
        size = (x * 7919) % len(self.active.content)
        self.active.content, self._rest = self.active.content[:size], b""
        self._write(self._new_lines(1 + y % 3, y))
        return True

    def regrow(self, x: int, y: int) -> bool:
        """With the same first lines as before, and others after them, often more."""
        if self.active is None or self.pending or not self.active.content:
            return False
        self._forget_copies(self.active)
        lines = self.active.content.splitlines(keepends=True)
        kept = [line for line in lines[: x % (len(lines) + 1)] if line.endswith(b"\n")]
        self.active.content, self._rest = b"".join(kept), b""
        self._write(self._new_lines(1 + y % 5, y))
        return True

    def delete(self, x: int, _y: int) -> bool:
        """Any file."""
        return self._take(x) is not None

    def move_away(self, x: int, _y: int) -> bool:
        """Out of the telemetry root."""
        file = self._take(x, only_clean=True)
        if file is not None and not file.copy_of:
            self.away.append(file)
        return file is not None

    def bring_back(self, x: int, _y: int) -> bool:
        """As the active file, or as the oldest."""
        if not self.away or self.pending:
            return False
        file = self.away.pop(x % len(self.away))
        if self.active is None and not file.compression and x % 2:
            self.active, self._rest = file, b""
            if not file.content.endswith(b"\n") and file.content:
                self._rest = b"\n"
            self._store(None)
            return True
        age = max(self.rotated, default=0) + 1
        if self.naming.stamp:
            age = max(age, self._days + 1000)
        self.rotated[age] = file
        self._store(age)
        return True

    def _take(self, x: int, *, only_clean: bool = False) -> File | None:
        there: list[int | None] = [None] if self.active else []
        there += sorted(self.rotated)
        if not there or self.pending:
            return None
        age = there[x % len(there)]
        file = self.rotated[age] if age is not None else self.active
        assert file is not None
        if only_clean and not file.is_clean:
            return None
        self._forget_copies(file)
        self._path(age, file).unlink()
        if age is None:
            self.active, self._rest = None, b""
        else:
            del self.rotated[age]
        return file

    def _may_rotate(self) -> bool:
        return (
            self.active is not None
            and self.pending is None
            and self.active.is_clean
            and bool(self.active.content)
        )

    def _make_room(self) -> int:
        """The name for the file that is rotated now, free."""
        self._rest = b""
        if self.naming.stamp:
            # The younger, the smaller: ages count down from the first day's.
            self._days += 1
            return 500 - self._days
        for age in sorted(self.rotated, reverse=True):
            file = self.rotated.pop(age)
            self._path(age, file).rename(self._path(age + 1, file))
            self.rotated[age + 1] = file
        return 1

    def _new_lines(self, count: int, y: int) -> bytes:
        lines = []
        for _ in range(count):
            self._line_count += 1
            name = f"{self.stem}-{self._line_count}"
            padding = (0, 3, 60, 400)[y % 4]
            bad = (y + self._line_count) % 11 == 0
            lines.append(bad_line(name) if bad else good_line(name, padding=padding))
        return b"".join(lines)

    def _write(self, content: bytes) -> None:
        """Append to the active file, first what is missing of its last line."""
        if self.active is None:
            self.active, self._rest = File(b""), b""
        if not self.active.content:
            self.active.content = self.header
        self.active.content += self._rest + content
        self._rest = b""
        self._store(None)

    def _has_no_copies(self, file: File) -> bool:
        return file.copy_of is None and all(
            each.copy_of is not file for each in self.rotated.values()
        )

    def _forget_copies(self, file: File) -> None:
        # A copy that was cut off and the only one left tells nothing of what it is.
        for age, each in list(self.rotated.items()):
            if each.copy_of is file and each is not self.pending:
                self._path(age, each).unlink()
                del self.rotated[age]

    def _age_of(self, file: File) -> int | None:
        return next((age for age, each in self.rotated.items() if each is file), None)

    def _path(self, age: int | None, file: File | None = None) -> Path:
        if age is None:
            return self.root / self.partition
        text = str(age)
        if self.naming.stamp:
            text = (BEGAN - timedelta(days=age)).strftime(self.naming.stamp)
        name = self.naming.pattern.format(text, stem=self.stem)
        return self.root / (name + (file.compression if file else ""))

    def _store(self, age: int | None) -> None:
        file = self.rotated[age] if age is not None else self.active
        assert file is not None
        self._put(self._path(age, file), _packed(file.content, file.compression))

    def _put(self, path: Path, content: bytes) -> None:
        # In place, as a writer does, at times that can be told apart.
        mode = os.O_WRONLY | os.O_CREAT
        descriptor = os.open(path, mode, 0o600)
        try:
            if os.fstat(descriptor).st_size > len(content):
                os.ftruncate(descriptor, len(content))
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)
        self._seconds += 1
        moment = (BEGAN + timedelta(seconds=self._seconds)).timestamp()
        os.utime(path, (moment, moment))

    def remove_root(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.root, ignore_errors=True)


def _packed(content: bytes, compression: str) -> bytes:
    if compression == ".gz":
        return gzip.compress(content, compresslevel=1, mtime=0)
    if compression == ".zst":
        return zstandard.ZstdCompressor().compress(content)
    return content


CHANGES = (
    *("append", "append", "append", "append_part", "complete", "grow_rotated"),
    *("rotate", "rotate", "rotate_often", "copy_and_truncate"),
    *("begin_copy", "end_copy", "compress", "begin_compression", "end_compression"),
    *("replace", "truncate", "cut_off", "regrow"),
    *("delete", "move_away", "bring_back"),
)
"""The changes by name; some are more frequent than others."""
