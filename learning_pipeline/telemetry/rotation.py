"""Which names a rotated file may have, and what they say of its age.

Known are the names of logrotate, Python's logging handlers, lumberjack and of people:
`x.jsonl.1`, `x.1.jsonl`, `x.jsonl-20260109`, `x-20260109T120000.jsonl`,
`x.jsonl.2026-01-09_12-00-00`, each also with `.gz` or `.zst` behind
it, and `x.jsonl.gz`.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache

import msgspec

from learning_pipeline.model import Compression


class Scheme(enum.Enum):
    """What tells the order of rotated files."""

    NUMBER = "number"
    """The higher, the older."""

    STAMP = "stamp"
    """The later, the younger."""

    PLAIN = "plain"
    """Nothing but an end that says how it is compressed."""


class RotatedName(msgspec.Struct, frozen=True):
    """One reading of a file's name as that of a rotated file.

    Attributes:
        base: The name that the file had before.
        scheme: What tells its place among the others of one base.
        rank: Sorts the files of one base and scheme, oldest first.
    """

    base: str
    scheme: Scheme
    rank: tuple[str | int, ...]


_MAX_DEPTH = 3

_DATE = r"(?:19[789]|20\d|21\d)\d(?:-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_DATE += r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
_TIME = r"[0-2]\d(?:[:-]?[0-5]\d(?:[:-]?[0-6]\d(?:[.,]\d{1,9})?)?)?"
_STAMP = rf"(?P<stamp>{_DATE}(?:[T_.-]?{_TIME}(?:Z|[+-]\d\d:?\d\d)?)?)"
_COUNT = r"(?:[-._](?P<count>\d{1,10}))?"
_STAMPED = re.compile(rf"(?P<base>.+)[-._]{_STAMP}{_COUNT}")
_NUMBERED = re.compile(r"(?P<base>.+)\.(?P<number>\d{1,5})")
_HINT = re.compile(r"\d|\.gz$|\.zst$")
_NO_DIGITS = re.compile(r"\D")


def compression_of(name: str) -> Compression | None:
    """How the file of this name is compressed."""
    for compression in Compression:
        if name.endswith(compression.value) and name != compression.value:
            return compression
    return None


@lru_cache(maxsize=16_384)
def readings_of(name: str) -> tuple[RotatedName, ...]:
    """What files this one may have been before it was rotated, nearest first.

    Args:
        name: A file's name, without its folder.
    """
    if _HINT.search(name) is None:
        return ()
    readings: list[RotatedName] = []
    pending: list[tuple[str, tuple[str | int, ...], int]] = [(name, (), 0)]
    while pending:
        at, rank, depth = pending.pop(0)
        if depth == _MAX_DEPTH:
            continue
        for reading in _readings_of_one_step(at):
            if all(each.base != reading.base for each in readings):
                full = RotatedName(reading.base, reading.scheme, reading.rank + rank)
                readings.append(full)
                pending.append((reading.base, full.rank, depth + 1))
    return tuple(readings)


def _readings_of_one_step(name: str) -> list[RotatedName]:
    compression = compression_of(name)
    if compression is not None:
        return [RotatedName(name.removesuffix(compression.value), Scheme.PLAIN, ())]
    readings = _with_suffix(name, "")
    stem, dot, extension = name.rpartition(".")
    if stem and not extension.isdigit():
        readings += _with_suffix(stem, dot + extension)
    return readings


def _with_suffix(stem: str, extension: str) -> list[RotatedName]:
    numbered = _NUMBERED.fullmatch(stem)
    if numbered:
        rank = (-int(numbered["number"]),)
        return [RotatedName(numbered["base"] + extension, Scheme.NUMBER, rank)]
    stamped = _STAMPED.fullmatch(stem)
    if stamped:
        digits = _NO_DIGITS.sub("", stamped["stamp"])
        stamp_rank = (digits.ljust(23, "0"), int(stamped["count"] or 0))
        return [RotatedName(stamped["base"] + extension, Scheme.STAMP, stamp_rank)]
    return []
