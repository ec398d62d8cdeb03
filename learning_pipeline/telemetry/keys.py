"""Partition keys: a telemetry file's relative path, in characters Dagster carries."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from learning_pipeline.errors import InvalidPartitionKeyError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

MAX_KEY_CHARS = 1000
SHOWN_KEY_CHARS = 120
"""How much of a refused key a message repeats."""

_PLAIN_PATH = re.compile(rb"(?!-)[A-Za-z0-9._~+=@/-]+")
_PLAIN_CHARS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+=@/-"
)
# Dagster reads `a...b` as the range of partitions from a to b.
_DAGSTER_RANGE = re.compile(r"\.{3,}")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LAST_ASCII = "\x7f"


def encode_key(path: bytes | str | PurePosixPath) -> str:
    """The partition key of a file.

    Args:
        path: The file's path relative to the telemetry root. Text stands for the
            bytes that `os.fsencode` makes of it.

    Raises:
        InvalidPartitionKeyError: No file below the root has this path (it is empty,
            absolute, or has a `.`, `..` or empty segment or a NUL), or its key
            would be longer than `MAX_KEY_CHARS`.

    Guarantees:
        Different paths have different keys, and `decode_key` gives the path back.
        A key holds no space, control character, comma, quote, bracket, `*` or
        `...`, does not begin with `-`, and is valid UTF-8.
    """
    raw = path if isinstance(path, bytes) else _file_name_bytes(str(path))
    _require_relative(raw, quote_path(raw))
    key = quote_path(raw)
    if len(key) > MAX_KEY_CHARS:
        raise InvalidPartitionKeyError(
            f"the partition key {shown(key)} would have {len(key):,} characters, more "
            f"than {MAX_KEY_CHARS:,}; shorten the names of the file and its folders",
            partition=key,
        )
    return key


def decode_key(key: str) -> bytes:
    """The path that a partition key stands for; the file system is not touched.

    Returns:
        The path relative to the telemetry root, as the file system's bytes.

    Raises:
        InvalidPartitionKeyError: `key` is not what `encode_key` makes of any path.
            The message says what is wrong with it, and which key was meant.
    """
    if len(key) > MAX_KEY_CHARS:
        raise InvalidPartitionKeyError(
            f"the partition key {shown(key)} has {len(key):,} characters, more than "
            f"{MAX_KEY_CHARS:,}",
            partition=key,
        )
    raw = _key_bytes(key)
    if not _BAD_ESCAPE.search(key):
        raw = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), raw)
    _require_relative(raw, key)
    meant = quote_path(raw)
    if meant != key:
        hint = f"; did you mean {meant!r}?" if len(meant) <= SHOWN_KEY_CHARS else ""
        raise InvalidPartitionKeyError(
            f"{shown(key)} is no partition key: {_difference(key)}{hint}",
            partition=key,
        )
    return raw


def quote_path(raw: bytes) -> str:
    """Any path in the characters of a key, whether or not it makes a valid one."""
    if _PLAIN_PATH.fullmatch(raw) and b"..." not in raw:
        return raw.decode("ascii")
    text = raw.decode("utf-8", "surrogateescape")
    quoted = "".join(
        character
        if character in _PLAIN_CHARS
        or (character > _LAST_ASCII and character.isprintable())
        else _escaped(character)
        for character in text
    )
    quoted = _DAGSTER_RANGE.sub(lambda match: "%2E" * len(match[0]), quoted)
    # A key must not be mistaken for an option of the command.
    return "%2D" + quoted[1:] if quoted.startswith("-") else quoted


def shown(key: str) -> str:
    """A key as messages repeat it: quoted, safe to print, and not endless."""
    cut = key if len(key) <= SHOWN_KEY_CHARS else key[:SHOWN_KEY_CHARS] + "…"
    return repr(cut)


def _file_name_bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        raise _no_file_name(path) from None


def _key_bytes(key: str) -> bytes:
    # Not os.fsencode: a key means the same file under every locale.
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _no_file_name(key) from None


def _no_file_name(text: str) -> InvalidPartitionKeyError:
    return InvalidPartitionKeyError(
        f"{shown(text)} holds characters that no file name has", partition=text
    )


def _escaped(character: str) -> str:
    return "".join(
        f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape")
    )


def _require_relative(raw: bytes, key: str) -> None:
    if not raw:
        wrong = "it is empty"
    elif b"\0" in raw:
        wrong = "it holds a NUL"
    elif raw.startswith(b"/"):
        wrong = "it is absolute, but keys are relative to the telemetry root"
    else:
        segments = raw.split(b"/")
        if b"" in segments:
            wrong = "it has an empty segment (`//`, or a `/` at the end)"
        elif b"." in segments or b".." in segments:
            wrong = "it has a segment `.` or `..`"
        else:
            return
    raise InvalidPartitionKeyError(
        f"{shown(key)} names no file below the telemetry root: {wrong}", partition=key
    )


def _difference(key: str) -> str:
    if _BAD_ESCAPE.search(key):
        return "`%` must be followed by two hexadecimal digits, or be written %25"
    if key.startswith("-"):
        return "a `-` at the start must be percent-encoded"
    if "..." in key:
        return "three or more dots in a row must be percent-encoded"
    for character in key:
        if character != "%" and character not in _PLAIN_CHARS:
            if character > _LAST_ASCII and character.isprintable():
                continue
            return f"{character!r} must be percent-encoded"
    return "it percent-encodes what must stand as it is, or with lower-case digits"
