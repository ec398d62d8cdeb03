"""What of a text is searched for: words as they are, of any language.

No stop words and no stemming: those of English would lose the `not` of an error
message, and take parts off identifiers and off words of all other languages. Nothing
is lost by it: words that are everywhere weigh next to nothing, as the weights are
those of BM25 with inverse document frequencies.

The engine's tokenizer for code splits at what is no letter or digit and at the humps
of `camelCase`, keeps the whole word too, ignores case, and folds accents. What it does
not know is prepared here: scripts that are written without spaces become their
characters and pairs of characters, and symbols such as emoji become words.
"""

from __future__ import annotations

import itertools
import re
import unicodedata

from learning_pipeline.errors import SearchQueryError

LONGEST_QUERY_CHARS = 16_000
"""The longest example: searching for a whole one is allowed."""

# Thai, Lao, Myanmar, Khmer; kana; Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
_SYMBOL = re.compile("[\u2190-\u2bff\U0001f000-\U0001faff]")


def searchable(text: str) -> str:
    """`text`, with what the engine's tokenizer needs to find all of it."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    added: list[str] = []
    for run in _UNSPACED_RUN.findall(text):
        added += run
        added += map("".join, itertools.pairwise(run))
    added += (f"symbol{ord(symbol):x}" for symbol in _SYMBOL.findall(text))
    return " ".join([text, *added]) if added else text


def checked_query(text: str) -> str:
    """A query without blanks around it.

    Raises:
        SearchQueryError: It is empty, too long, or no text.
    """
    text = text.strip()
    if not text:
        message = "the query is empty: give some words of what is to be found"
        raise SearchQueryError(message)
    if len(text) > LONGEST_QUERY_CHARS:
        message = (
            f"the query has {len(text):,} characters: give at most "
            f"{LONGEST_QUERY_CHARS:,}"
        )
        raise SearchQueryError(message)
    try:
        text.encode()
    except UnicodeEncodeError:
        message = (
            "the query holds half of a character (a lone surrogate): it is no text"
        )
        raise SearchQueryError(message) from None
    return text


class Phrase:
    """Tells whether a text holds the words of a query one after another."""

    def __init__(self, query: str) -> None:
        """Take the query."""
        words = [re.escape(word) for word in _folded(query).split()]
        self._pattern = re.compile(
            _edge(words[0], 0) + r"\s+".join(words) + _edge(words[-1], -1)
        )

    def is_in(self, text: str) -> bool:
        """Whether `text` holds it; case does not matter."""
        return self._pattern.search(_folded(text)) is not None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _edge(word: str, at: int) -> str:
    # `log` is not in `catalog`; but in scripts without spaces words have no edges.
    if not re.match(r"\w", word[at]) or _UNSPACED_RUN.match(word[at]):
        return ""
    return r"(?<!\w)" if at == 0 else r"(?!\w)"
