"""Partition keys: lossless, canonical, and harmless in Dagster's selections."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from learning_pipeline.errors import InvalidPartitionKeyError
from learning_pipeline.telemetry import MAX_KEY_CHARS, decode_key, encode_key

segments = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text(alphabet=".-% ,[]*aé\u2028\t", min_size=1, max_size=8).map(str.encode),
).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."}
)
paths = st.lists(segments, min_size=1, max_size=4).map(b"/".join)


@given(path=paths)
@example(path=b"...")
@example(path=b"-")
@example(path=b"a/-b..../%41")
@example(path="\ufeff\u202e\U0001f600\u0301".encode())
def test_a_key_decodes_to_the_path_that_it_was_made_of(path: bytes) -> None:
    """Any file name that POSIX allows survives, whatever its bytes."""
    assert decode_key(encode_key(path)) == path


@given(path=paths)
def test_a_key_holds_nothing_that_dagster_cannot_carry(path: bytes) -> None:
    """No separator, range, quote, space or control character, and valid UTF-8."""
    key = encode_key(path)

    assert not re.search(r"[^A-Za-z0-9._~+=@%/\-\x80-\U0010ffff]|\.\.\.|^-", key)
    assert key.isprintable()
    assert key.encode().decode() == key


@given(key=st.text(max_size=30) | st.from_regex(r"[a%./0-9A-Fa-f-]{1,12}"))
def test_only_the_canonical_key_of_a_path_is_accepted(key: str) -> None:
    """Whatever decodes encodes to the very same key; the rest is refused."""
    try:
        path = decode_key(key)
    except InvalidPartitionKeyError as error:
        assert error.partition == key  # noqa: PT017 - most of the examples get here
    else:
        assert encode_key(path) == key


@given(path=paths)
def test_a_raw_path_is_answered_with_its_key(path: bytes) -> None:
    """Who pastes a path instead of a key is told the key."""
    raw = path.decode("utf-8", "surrogateescape")
    key = encode_key(path)
    assume(raw != key and not re.search("%[0-9A-Fa-f]{2}", raw))

    with pytest.raises(InvalidPartitionKeyError) as caught:
        decode_key(raw)

    assert len(key) > 120 or f"did you mean {key!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("agent-1/2024.jsonl", "agent-1/2024.jsonl"),
        ("my file.jsonl", "my%20file.jsonl"),
        ("a,b[c]*'\".jsonl", "a%2Cb%5Bc%5D%2A%27%22.jsonl"),
        ("100%.jsonl", "100%25.jsonl"),
        ("a..b...c", "a..b%2E%2E%2Ec"),
        ("-rf", "%2Drf"),
        ("Größe/日志.jsonl", "Größe/日志.jsonl"),
        ("\u00a0\u202e", "%C2%A0%E2%80%AE"),
        (b"\xff\xc3.jsonl", "%FF%C3.jsonl"),
        (PurePosixPath("a") / "b c", "a/b%20c"),
        ("~a+b=c@d_e:", "~a+b=c@d_e%3A"),
    ],
)
def test_a_key_reads_like_its_path(path: bytes | str | PurePosixPath, key: str) -> None:
    """Only what must be is percent-encoded; keys are stored, so this is pinned."""
    assert encode_key(path) == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "it is empty"),
        ("/etc/passwd", "absolute"),
        ("../x", "segment `.` or `..`"),
        ("a/./b", "segment `.` or `..`"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        ("%2E%2E/x", "segment `.` or `..`"),
        ("a%2F..%2Fb", "segment `.` or `..`"),
        ("a%00", "a NUL"),
        ("a\0", "a NUL"),
        ("x" * 1001, "1,001 characters"),
        ("\ud800", "no file name has"),
    ],
)
def test_a_key_that_names_no_file_is_refused(key: str, reason: str) -> None:
    """Hostile keys are refused by themselves, with no look at any file."""
    with pytest.raises(InvalidPartitionKeyError, match=re.escape(reason)):
        decode_key(key)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("my file", "' ' must be percent-encoded; did you mean 'my%20file'?"),
        ("a%2cb", "lower-case digits; did you mean 'a%2Cb'?"),
        ("%61", "must stand as it is, or with lower-case digits; did you mean 'a'?"),
        ("50%", "two hexadecimal digits, or be written %25; did you mean '50%25'?"),
        ("-a", "at the start must be percent-encoded; did you mean '%2Da'?"),
        ("a...b", "dots in a row must be percent-encoded; did you mean 'a%2E%2E%2Eb'"),
        (" " * 500, "must be percent-encoded"),
    ],
)
def test_a_key_that_is_not_canonical_is_told_the_one_meant(
    key: str, reason: str
) -> None:
    """The message says what is wrong and what would be right."""
    with pytest.raises(InvalidPartitionKeyError, match=re.escape(reason)):
        decode_key(key)


def test_the_longest_key_is_accepted_and_a_longer_one_is_not() -> None:
    """The limit is a limit of the key, not of the path."""
    assert len(encode_key(b"x" * MAX_KEY_CHARS)) == MAX_KEY_CHARS
    with pytest.raises(InvalidPartitionKeyError, match="shorten the names"):
        encode_key(b" " * 334)


def test_a_message_neither_repeats_an_endless_key_nor_prints_its_controls() -> None:
    """A key may be hostile, and its message goes to logs and terminals."""
    with pytest.raises(InvalidPartitionKeyError) as caught:
        decode_key("\x1b[31m" + "x" * 1_000_000)

    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_text_that_is_no_file_name_gets_no_key() -> None:
    """A lone surrogate stands for no byte."""
    with pytest.raises(InvalidPartitionKeyError, match="no file name has"):
        encode_key("\ud800")
