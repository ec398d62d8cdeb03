"""What a database driver raises, turned into the errors of this project."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from learning_pipeline.errors import (
    StateDamagedError,
    StoreError,
    StoreUnavailableError,
)
from learning_pipeline.store.disk_space import free_bytes_of
from learning_pipeline.store.read_only import sqlite_path
from learning_pipeline.store.second_look import look_again

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAMAGE_SIGNS = (
    "malformed",
    "not a database",
    "unsupported file",
)
_GARBLED_TEXT_SIGN = "could not decode to utf-8"
_DAMAGE = (
    psycopg.errors.DataCorrupted,
    psycopg.errors.IndexCorrupted,
)
_GARBLED = (msgspec.DecodeError, UnicodeDecodeError)
"""Stored JSON that is none any more; a message of SQLite that quotes garbage."""

_UNAVAILABLE = (
    sqlite3.OperationalError,
    psycopg.OperationalError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
    PoolTimeoutError,
)
_UNWRAPPED = (
    sqlite3.Error,
    psycopg.Error,
    PoolTimeoutError,
    UnicodeError,
    msgspec.DecodeError,
)
_DISK_SIGNS = ("disk", "unable to open database file")
_FULL_BYTES = 1024 * 1024
"""With less than this left a disk is called full: a look alone takes SQLite 32 KiB."""

_KEPT = "Only what was committed before is kept."
_SHOWN_QUERY_KEYS = frozenset({"host", "port", "service"})


def shown_url(url: str) -> str:
    """The URL for people: without any password, also not one in its query."""
    parsed = make_url(url)
    query = {key: parsed.query[key] for key in parsed.query if key in _SHOWN_QUERY_KEYS}
    return parsed.set(query=query).render_as_string(hide_password=True)


@contextlib.contextmanager
def explained(url: str, *, is_new: bool = False) -> Iterator[None]:
    """Turn what a database driver raises into the errors of this project.

    Args:
        url: The database.
        is_new: Whether it is only being made, and so cannot be damaged.

    Raises:
        StateDamagedError: The database is malformed.
        StoreUnavailableError: Locked, full, read-only, gone, refused; or SQLite could
            not read it, and calls that malformed.
        StoreError: Anything else that the database refused.
    """
    try:
        yield
    except DBAPIError as error:
        raise _explain(error.orig or error, url, is_new=is_new) from _harmless(
            error, url
        )
    except _UNWRAPPED as error:
        raise _explain(error, url, is_new=is_new) from _harmless(error, url)


def _explain(error: BaseException, url: str, *, is_new: bool) -> StoreError:
    shown = shown_url(url)
    cause = _without_password(_primary_text(error), url)
    if isinstance(error, _GARBLED):
        # Its own text quotes what is stored.
        return damaged(shown, f"{type(error).__name__} in what is stored")
    if isinstance(error, _DAMAGE):
        return damaged(shown, cause)
    if isinstance(error, sqlite3.DatabaseError):
        if any(sign in cause.lower() for sign in _DAMAGE_SIGNS):
            return damaged_or_unread(url, cause, is_new=is_new)
        if _GARBLED_TEXT_SIGN in cause.lower():
            return damaged(shown, cause)
    if isinstance(error, _UNAVAILABLE):
        cause = _with_full_disk(cause, url)
        return StoreUnavailableError(
            f"the state database {shown} cannot be used: {cause}. {_KEPT} Once the "
            "cause is gone, run again; a run resumes there.",
            cause=cause,
        )
    return StoreError(f"the state database {shown} refused: {cause}")


def _with_full_disk(cause: str, url: str) -> str:
    # SQLite says "disk I/O error" of many a disk that is only full.
    path = sqlite_path(url)
    if path is None or not any(sign in cause for sign in _DISK_SIGNS):
        return cause
    free_bytes = free_bytes_of(path.parent)
    if free_bytes is None or free_bytes >= _FULL_BYTES:
        return cause
    return f"{cause}; its disk is full, with {free_bytes:,} bytes free: free some space"


def _primary_text(error: BaseException) -> str:
    # Not Postgres' DETAIL and CONTEXT: they quote values.
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    # What SQLite cannot decode it quotes, and that is text from telemetry.
    text = (primary or str(error)).partition(" with text ")[0]
    return " ".join(text.split()).rstrip(".")


def damaged_or_unread(url: str, cause: str, *, is_new: bool = False) -> StoreError:
    """The error for what SQLite calls damaged, once it was looked at again."""
    shown, path = shown_url(url), sqlite_path(url)
    if is_new:
        return StoreUnavailableError(
            f"a read of the state database {shown} failed ({cause}) while it was being "
            "made. Nothing was kept; check the disk, and run again.",
            cause=cause,
        )
    second = look_again(path) if path is not None else None
    if second is None or not (second.is_sound or second.unreadable):
        return damaged(shown, cause)
    if second.unreadable:
        return StoreUnavailableError(
            f"the state database {shown} cannot be read: {second.unreadable}. "
            f"{_KEPT} Once the cause is gone, run again; a run resumes there. If it "
            "stays so, `learning-pipeline rebuild --even-if-healthy` "
            "moves the file aside and puts a backup or an empty one in its place.",
            cause=second.unreadable,
        )
    return StoreUnavailableError(
        f"a read of the state database {shown} failed ({cause}), but it was read again "
        f"and is sound. {_KEPT} Run again; a run resumes there. If it happens again, "
        "check the disk and the system's log.",
        cause=cause,
    )


def damaged(shown: str, cause: str) -> StateDamagedError:
    """The error for a database that must not be touched."""
    return StateDamagedError(
        f"the state database {shown} is damaged ({cause}) and was not touched. "
        "`learning-pipeline doctor` looks closer; `learning-pipeline rebuild` moves "
        "it aside, says what can be learned again, and puts a backup in its place "
        "(`--from-backup FILE`) or an empty one that `learning-pipeline process` "
        "fills from the telemetry that still exists."
    )


def foreign(shown: str) -> StateDamagedError:
    """The error for a database that is another program's."""
    return StateDamagedError(
        f"the state database {shown} holds another program's tables and was not "
        "touched. Set LEARNING_PIPELINE_STATE_DIR or LEARNING_PIPELINE_STORE_URL to "
        "a place of its own."
    )


def _passwords(url: str) -> list[str]:
    parsed = make_url(url)
    found = [parsed.password, *parsed.normalized_query.get("password", ())]
    return [str(password) for password in found if password]


def _without_password(text: str, url: str) -> str:
    for password in _passwords(url):
        text = text.replace(password, "***")
    return text


def _harmless(error: BaseException, url: str) -> BaseException | None:
    # A traceback prints the cause's own text, which the driver wrote.
    text = str(error)
    leaks = " with text " in text or any(each in text for each in _passwords(url))
    return None if leaks else error
