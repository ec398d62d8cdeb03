"""Ways to damage a state database, and what became of the pass after it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning_pipeline.errors import StoreError
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import Engine

PAGE_BYTES = 4096
FRAME_BYTES = 24 + PAGE_BYTES
LOG_HEADER_BYTES = 32
DATABASE, LOG = "state.db", "state.db-wal"

PARTITIONS = ("a.jsonl", "b.jsonl")
STEPS = (30, 60, 90)
"""Lines of each file that were there at the passes before the damage."""
LINE_COUNT = 110

Files = Mapping[str, bytes]
"""The files of a database, by name."""

Key = tuple[str, int, int, int]


@dataclass(frozen=True)
class Damage:
    """One damaged database.

    Attributes:
        name: What was done to it.
        files: All that is left of it.
    """

    name: str
    files: Files


@dataclass
class Scene:
    """What was committed before the damage, and what there has to be in the end.

    Attributes:
        folder: For the databases of the tries.
        oracle: All patterns after one pass over the whole files.
        closed: The database after its last connection closed it.
        logged: The same of one whose process was killed; all work is in its log.
        copied: A killed one, its log was copied into the database before.
        half_copied: A killed one that was copying its log while somebody read.
        old_log: The log of `logged` at the first of the passes.
    """

    folder: Path
    oracle: list[dict[str, Any]]
    closed: Files
    logged: Files
    copied: Files
    half_copied: Files
    old_log: bytes


def lines(partition: str) -> list[bytes]:
    """All lines of a file."""
    return list(generate_lines(LINE_COUNT, seed=ord(partition[0])))


def make_scene(folder: Path) -> Scene:
    """Process the files in three passes, and keep the database in several states."""
    whole = _engine(folder / "whole")
    _one_pass(whole, LINE_COUNT)
    closed = _engine(folder / "closed")
    for count in STEPS:
        _one_pass(closed, count)
    logged = list(_live(folder / "logged", copy=""))
    return Scene(
        folder,
        whole.rows(),
        _files(closed.folder),
        logged[-1],
        list(_live(folder / "copied", copy="at the end"))[-1],
        list(_live(folder / "half", copy="while read"))[-1],
        logged[0][LOG],
    )


def _engine(folder: Path) -> Engine:
    folder.mkdir()
    return Engine(folder, interval=10)


def _one_pass(engine: Engine, line_count: int) -> None:
    for partition in PARTITIONS:
        engine.write(b"".join(lines(partition)[:line_count]), partition)
        engine.drain(partition)


def _files(folder: Path) -> dict[str, bytes]:
    # Not the index of the log: it dies with the machine, and is made anew.
    return {
        name: (folder / name).read_bytes()
        for name in (DATABASE, LOG)
        if (folder / name).exists()
    }


def _live(folder: Path, *, copy: str) -> Iterator[Files]:
    """The files after each pass, while another connection keeps the log from going."""
    engine = _engine(folder)
    engine.store().close()
    holding = sqlite3.connect(folder / DATABASE, isolation_level=None)
    holding.execute("SELECT count(*) FROM patterns").fetchall()
    for count in STEPS:
        _one_pass(engine, count)
        if copy == "while read" and count == STEPS[0]:
            holding.execute("BEGIN")
            holding.execute("SELECT count(*) FROM patterns").fetchall()
        if copy == "while read" and count == STEPS[-1]:
            other = sqlite3.connect(folder / DATABASE, isolation_level=None)
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            yield _files(folder)
            other.close()
            continue
        if copy == "at the end" and count == STEPS[-1]:
            holding.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        yield _files(folder)
    holding.close()


EXACTLY = "resumed exactly"
FELL_BACK = "fell back to an earlier commit, read again, exact"
ON_OPEN = "refused on open"
LATER = "refused later"
TEXT = "a stored value of a row differs"
WRONG = "WRONG"


def outcome(scene: Scene, damage: Damage) -> str:
    """Open the damaged database, let the files grow, and make another pass."""
    folder = scene.folder / "tried"
    for old in folder.glob("state.db*"):
        old.unlink()
    engine = Engine(folder, interval=10)
    for name, content in damage.files.items():
        (folder / name).write_bytes(content)
    try:
        with engine.store() as store:
            offsets = {
                each.partition: each.offset
                for each in store.checkpoints(with_kinds=False)
            }
    except StoreError:
        return ON_OPEN
    try:
        for partition in PARTITIONS:
            whole = lines(partition)
            engine.write(b"".join(whole), partition)
            engine.drain(partition)
        rows = engine.rows()
    except StoreError:
        return LATER
    if rows == scene.oracle:
        committed = {
            partition: len(b"".join(lines(partition)[: STEPS[-1]]))
            for partition in PARTITIONS
        }
        return EXACTLY if offsets == committed else FELL_BACK
    if [_key(row) for row in rows] == [_key(row) for row in scene.oracle]:
        return TEXT
    return WRONG


def _key(row: Mapping[str, Any]) -> Key:
    return (row["partition"], row["generation"], row["offset"], row["ordinal"])


def structural(scene: Scene) -> Iterator[Damage]:
    """Cut at many lengths, zeroed, emptied, overwritten; another's; a newer one's."""
    whole = scene.closed[DATABASE]

    def closed(name: str, content: bytes) -> Damage:
        return Damage(name, {DATABASE: content})

    lengths = {*range(0, 101, 10), 1, 15, 16, 17, 99, 101, 512, len(whole) - 1}
    for boundary in range(PAGE_BYTES, len(whole), PAGE_BYTES):
        lengths |= {boundary - 1, boundary, boundary + 1}
    for length in sorted(lengths):
        yield closed(f"cut to {length} bytes", whole[:length])
    yield closed("a page too long", whole + bytes(PAGE_BYTES))
    yield closed("a byte too long", whole + b"\0")
    for start in range(0, len(whole), PAGE_BYTES):
        for name, filler in (("zeroed", b"\0"), ("filled", b"\xff")):
            page = filler * PAGE_BYTES
            yield closed(
                f"page at {start} {name}",
                whole[:start] + page + whole[start + PAGE_BYTES :],
            )
        yield closed(
            f"sector at {start} zeroed",
            whole[:start] + bytes(512) + whole[start + 512 :],
        )
        other = (start + 5 * PAGE_BYTES) % len(whole)
        yield closed(
            f"page at {start} overwritten with that at {other}",
            whole[:start]
            + whole[other : other + PAGE_BYTES]
            + whole[start + PAGE_BYTES :],
        )
    for position in range(100):
        yield closed(f"header byte {position}", flipped(whole, position, 0xFF))
    for start in range(PAGE_BYTES, len(whole), PAGE_BYTES):
        for position in range(start, start + 8):
            yield closed(f"page header {position}", flipped(whole, position, 0x05))


def flips(scene: Scene, count: int, chance: random.Random) -> Iterator[Damage]:
    """One bit changed anywhere."""
    whole = scene.closed[DATABASE]
    for _ in range(count):
        position, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        yield Damage(
            f"bit {bit} at {position}", {DATABASE: flipped(whole, position, bit)}
        )


def logs(scene: Scene) -> Iterator[Damage]:
    """The log cut, changed, gone, an old one, another's; with more or less in it."""
    for state, files in (
        ("logged", scene.logged),
        ("copied", scene.copied),
        ("half copied", scene.half_copied),
    ):
        log = files[LOG]
        starts = range(LOG_HEADER_BYTES, len(log), FRAME_BYTES)
        changed = {
            "intact": log,
            "emptied": b"",
            "an old log": scene.old_log,
            "another log": scene.half_copied[LOG]
            if state != "half copied"
            else scene.logged[LOG],
            "garbage": b"\xa5" * len(log),
        }
        for start in starts:
            changed[f"cut to {start}"] = log[:start]
            changed[f"cut to {start + 1000}"] = log[: start + 1000]
            changed[f"changed in frame at {start}"] = flipped(log, start + 2000, 0x10)
            changed[f"changed frame header at {start}"] = flipped(log, start + 5, 0x10)
        for position in range(LOG_HEADER_BYTES):
            changed[f"header byte {position}"] = flipped(log, position, 0x01)
        for name, content in changed.items():
            yield Damage(
                f"{state}, log {name}", {DATABASE: files[DATABASE], LOG: content}
            )
        yield Damage(f"{state}, log gone", {DATABASE: files[DATABASE]})
        yield Damage(f"{state}, database gone", {LOG: log})
        yield Damage(f"{state}, database emptied", {DATABASE: b"", LOG: log})


def statements(scene: Scene) -> Iterator[Damage]:
    """What no run would do: a newer version, tables or rows gone, numbers changed."""
    tables = (
        "partitions",
        "stages",
        "generations",
        "checkpoints",
        "checkpoint_history",
        "event_counts",
        "dead_letters",
        "patterns",
    )
    changes = [
        "UPDATE learning_pipeline_version SET version_num = '9999'",
        "DELETE FROM learning_pipeline_version",
        "DROP TABLE learning_pipeline_version",
        *(f"DROP TABLE {table}" for table in tables),
        "DELETE FROM checkpoints",
        "DELETE FROM checkpoint_history",
        "DELETE FROM partitions",
        "UPDATE checkpoints SET stage = 'another'",
        "UPDATE checkpoints SET generation = generation + 1",
        'UPDATE checkpoints SET "offset" = "offset" + 1',
        'UPDATE checkpoints SET "offset" = "offset" - 1',
        'UPDATE checkpoints SET "offset" = "offset" / 2',
        'UPDATE checkpoints SET "offset" = "offset" * 1000000',
        'UPDATE checkpoints SET "offset" = 0',
        "UPDATE checkpoints SET prefix_digest = zeroblob(16)",
        "UPDATE checkpoints SET guard_digest = zeroblob(16)",
        "UPDATE checkpoints SET guard_length_bytes = 1",
        "UPDATE checkpoints SET counters = '{'",
        "UPDATE checkpoints SET fence = fence + 1000",
        'UPDATE checkpoint_history SET "offset" = "offset" + 1',
    ]
    path = scene.folder / "changed.db"
    for change in changes:
        path.write_bytes(scene.closed[DATABASE])
        connection = sqlite3.connect(path)
        connection.execute(change)
        connection.commit()
        connection.close()
        yield Damage(change, {DATABASE: path.read_bytes()})
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.commit()
    connection.close()
    yield Damage("another program's", {DATABASE: path.read_bytes()})


def flipped(content: bytes, position: int, bits: int) -> bytes:
    """`content` with some bits of one byte turned over."""
    changed = bytearray(content)
    changed[position] ^= bits
    return bytes(changed)
