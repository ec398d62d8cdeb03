"""How many tokens texts come to, by a tokenizer that is on this machine.

Nothing is downloaded, ever. A tokenizer is named by an encoding of tiktoken, such as
`o200k_base`, whose file is in tiktoken's cache (`TIKTOKEN_CACHE_DIR`); or by the path
of a `tokenizer.json`, which Hugging Face `tokenizers` reads.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from learning_pipeline.errors import ConfigurationError

NO_TOKENIZER: Final = "none"
TEXTS_AT_ONCE: Final = 512
INSTALL: Final = "install `learning_pipeline[tokens]`"


class TokenCount(msgspec.Struct, frozen=True):
    """What was counted: the messages' texts, without a chat template's own tokens.

    Attributes:
        count: How many tokens; None where none were counted.
        tokenizer: By which.
        why_none: Why none were counted.
    """

    count: int | None
    tokenizer: str | None = None
    why_none: str | None = None


class Tokenizer(msgspec.Struct, frozen=True):
    """Counts the tokens of texts.

    Attributes:
        name: For people.
        count_texts: Adds up the tokens of some texts, without special ones.
    """

    name: str
    count_texts: Callable[[Sequence[str]], int]


class TokenCounter:
    """Adds up tokens."""

    def __init__(self, name: str) -> None:
        """Take a tokenizer by its name; see the module.

        Raises:
            ConfigurationError: There is no such encoding, or the file is no tokenizer.
        """
        self._found = _find(name)
        self._texts: list[str] = []
        self._total = 0

    def add(self, texts: Sequence[str]) -> None:
        """Count texts."""
        if isinstance(self._found, Tokenizer):
            self._texts += texts
            if len(self._texts) >= TEXTS_AT_ONCE:
                self._flush(self._found)

    @property
    def result(self) -> TokenCount:
        """What was counted so far."""
        if isinstance(self._found, str):
            return TokenCount(None, why_none=self._found)
        self._flush(self._found)
        return TokenCount(self._total, self._found.name)

    def _flush(self, tokenizer: Tokenizer) -> None:
        self._total += tokenizer.count_texts(self._texts)
        self._texts.clear()


def _find(name: str) -> Tokenizer | str:
    """A tokenizer, or why there is none."""
    if name == NO_TOKENIZER:
        return "no tokenizer was asked for"
    if name.endswith(".json"):
        return _of_file(Path(name))
    return _of_tiktoken(name)


def _of_file(path: Path) -> Tokenizer | str:
    try:
        import tokenizers  # noqa: PLC0415 - may not be installed
    except ImportError:
        return f"the package `tokenizers` is not there: {INSTALL}"
    try:
        content = path.read_bytes()
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # noqa: BLE001 - the library raises bare ones
        why = getattr(error, "strerror", None) or "it is no tokenizer.json"
        raise ConfigurationError(f"cannot count tokens by {path}: {why}") from None
    # Limits in the file would cut what is counted.
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count_texts(texts: Sequence[str]) -> int:
        found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return sum(len(each.ids) for each in found)

    digest = hashlib.sha256(content).hexdigest()[:12]
    return Tokenizer(f"{path.name}, SHA-256 {digest}…", count_texts)


def _of_tiktoken(name: str) -> Tokenizer | str:
    try:
        import tiktoken  # noqa: PLC0415 - may not be installed
    except ImportError:
        return f"the package `tiktoken` is not there: {INSTALL}"
    known = sorted(tiktoken.list_encoding_names())
    if name not in known:
        raise ConfigurationError(
            f"{name!r} is no tokenizer: name the path of a tokenizer.json, "
            f"{NO_TOKENIZER!r}, or one of {', '.join(known)}"
        )
    try:
        with _offline():
            encoding = tiktoken.get_encoding(name)
    except _WouldDownloadError:
        return (
            f"the file of {name} is not in tiktoken's cache: have it downloaded once, "
            f"by `tiktoken.get_encoding({name!r})` with TIKTOKEN_CACHE_DIR set to a "
            "folder that stays"
        )

    def count_texts(texts: Sequence[str]) -> int:
        return sum(map(len, encoding.encode_ordinary_batch(list(texts))))

    return Tokenizer(f"tiktoken {name}", count_texts)


class _WouldDownloadError(Exception):
    """Tiktoken would have fetched a file."""


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Let tiktoken read what is in its cache, and fetch nothing."""
    from tiktoken import load  # noqa: PLC0415 - may not be installed

    before = load.read_file

    def read_file(blobpath: str) -> bytes:
        if "://" in blobpath:
            raise _WouldDownloadError
        return before(blobpath)

    load.read_file = read_file
    try:
        yield
    finally:
        load.read_file = before
