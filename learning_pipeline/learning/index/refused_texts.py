"""Meanings of texts of which the endpoint may refuse some, such as one too long.

One text must not keep all others from being indexed. An endpoint answers 400, 413 or
422 to a request as a whole, whether a text of it is to blame or the settings are: a
short harmless text tells which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from learning_pipeline import logs
from learning_pipeline.learning.index.embeddings import EmbeddingsRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learning_pipeline.learning.index.embeddings import Embeddings
    from learning_pipeline.learning.retrying import Meanwhile

HARMLESS: Final = "dimension"
"""What no endpoint refuses that works."""

_MAY_BE_A_TEXT: Final = frozenset({400, 413, 422})
_SHORTENINGS: Final = 4
"""A text is cut to a half, then a quarter, down to 500 characters by default."""

_LEAST_CHARS: Final = 200
"""A shorter one is not refused for its length, and says little when it is cut."""


class TolerantEmbedding:
    """Embeds texts, and goes without a meaning for those that are refused."""

    def __init__(self, embeddings: Embeddings, meanwhile: Meanwhile | None) -> None:
        """Take the endpoint, and what is done while it is waited for."""
        self._embeddings = embeddings
        self._meanwhile = meanwhile
        self._shortened_count = 0
        self._refused_count = 0

    def embed(self, texts: Sequence[str]) -> list[list[float] | None]:
        """The meaning of each text, in their order; None for one that is refused.

        A text that is refused is tried with fewer characters first. How many were
        refused is logged.

        Raises:
            DependencyUnavailableError: It does not answer, or gives garbage.
            EmbeddingsRefusedError: It refuses everything: a setting is wrong.
        """
        size = self._embeddings.batch
        vectors: list[list[float] | None] = []
        for start in range(0, len(texts), size):
            vectors += self._batch(texts[start : start + size])
        if self._shortened_count or self._refused_count:
            logs.get_logger().warning(
                "embeddings_refused_texts",
                shortened_count=self._shortened_count,
                by_words_only_count=self._refused_count,
            )
        return vectors

    def _batch(self, texts: Sequence[str]) -> list[list[float] | None]:
        try:
            return [*self._ask(texts)]
        except EmbeddingsRefusedError as refusal:
            if refusal.status not in _MAY_BE_A_TEXT or not self._takes_another():
                raise
        return self._parts(texts)

    def _parts(self, texts: Sequence[str]) -> list[list[float] | None]:
        # Refused as a whole, for a cause that is in it.
        if len(texts) == 1:
            return [self._shortened(texts[0])]
        half = len(texts) // 2
        vectors: list[list[float] | None] = []
        for part in (texts[:half], texts[half:]):
            try:
                vectors += self._ask(part)
            except EmbeddingsRefusedError as refusal:
                if refusal.status not in _MAY_BE_A_TEXT:
                    raise
                vectors += self._parts(part)
        return vectors

    def _shortened(self, text: str) -> list[float] | None:
        text = text[: self._embeddings.max_chars]
        for _ in range(_SHORTENINGS):
            text = text[: len(text) // 2]
            if len(text) < _LEAST_CHARS or not text.strip():
                break
            try:
                (vector,) = self._ask([text])
            except EmbeddingsRefusedError as refusal:
                if refusal.status not in _MAY_BE_A_TEXT:
                    raise
            else:
                self._shortened_count += 1
                return vector
        self._refused_count += 1
        return None

    def _takes_another(self) -> bool:
        try:
            self._ask([HARMLESS])
        except EmbeddingsRefusedError:
            return False
        return True

    def _ask(self, texts: Sequence[str]) -> list[list[float]]:
        return self._embeddings.embed(texts, meanwhile=self._meanwhile)
