"""What examples and queries are searched by: words, and meanings where configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import qdrant_edge as edge

from learning_pipeline.errors import (
    DependencyUnavailableError,
    IndexChangedError,
    SearchQueryError,
)
from learning_pipeline.learning.index.points import text_of
from learning_pipeline.learning.index.texts import checked_query, searchable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learning_pipeline.learning.index.embeddings import Embeddings
    from learning_pipeline.model import Example

_WORDS: Final = "bm25:1"
"""Its number changes with whatever changes the words of a text: see `texts`."""

_MEANING: Final = "+dense:"
REBUILD: Final = "`learning-pipeline index rebuild` makes it anew"


class Kind(NamedTuple):
    """What the vectors of an index are made by.

    Attributes:
        words: By what words are found.
        model: The embeddings model; None when it is searched by words only.
        dimension: How many numbers that gives; 0 without a model.
    """

    words: str = _WORDS
    model: str | None = None
    dimension: int = 0

    def __str__(self) -> str:
        """As it is stored with the index."""
        if self.model is None:
            return self.words
        return f"{self.words}{_MEANING}{self.model}:{self.dimension}"

    @classmethod
    def parse(cls, text: str) -> Kind:
        """The other way round; what cannot be read fits no settings."""
        words, meaning, rest = text.partition(_MEANING)
        if not meaning:
            return cls(words)
        model, _, dimension = rest.rpartition(":")
        return cls(words, model, int(dimension) if dimension.isdecimal() else 0)


class DocumentVectors(NamedTuple):
    """The vectors of one example.

    Attributes:
        words: Which words, by their hashes, and how much each weighs.
        dense: The meaning; None when the index knows none.
    """

    words: edge.SparseVector
    dense: list[float] | None


class QueryVectors(NamedTuple):
    """The vectors of a query.

    Attributes:
        text: The query without blanks around it.
        words: Which words; may be none when there is a meaning.
        dense: The meaning; None when there is none to be had.
        degraded: Why there is none although the index knows meanings.
    """

    text: str
    words: edge.SparseVector
    dense: list[float] | None
    degraded: str | None


class Vectorizer:
    """Makes vectors as the settings say."""

    def __init__(self, embeddings: Embeddings | None) -> None:
        """Take the endpoint for meanings, if there is one."""
        self._embeddings = embeddings
        self._bm25 = edge.Bm25(
            edge.Bm25Config(
                tokenizer=edge.TokenizerType.Code,
                stopwords=edge.StopwordsSet(),
                stemmer=edge.DisabledStemmer(),
                ascii_folding=True,
            )
        )

    def kind(self) -> Kind:
        """What a new index would be made by; asks the endpoint for its dimension.

        Raises:
            DependencyUnavailableError: It does not answer.
            ConfigurationError: It refuses.
        """
        if self._embeddings is None:
            return Kind()
        (vector,) = self._embeddings.embed(["dimension"])
        return Kind(model=self._embeddings.model, dimension=len(vector))

    def why_changed(self, stored: Kind) -> str | None:
        """Why an index of this kind does not fit; asks nobody."""
        if stored.words != _WORDS:
            return f"its words are of kind {stored.words}, those of now are {_WORDS}"
        model = None if self._embeddings is None else self._embeddings.model
        if stored.model == model:
            return None
        return f"it was made with {_named(stored.model)}, now there are {_named(model)}"

    def of_examples(
        self, examples: Sequence[Example], kind: Kind
    ) -> list[DocumentVectors]:
        """Vectors for an index of this kind.

        Raises:
            IndexChangedError: The endpoint gives another dimension than the index has.
        """
        texts = [text_of(example) for example in examples]
        meanings: Sequence[list[float] | None] = [None] * len(texts)
        if self._embeddings is not None:
            meanings = self._embeddings.embed(texts)
            for meaning in meanings:
                _require_dimension(meaning, kind)
        vectors = []
        for text, dense in zip(texts, meanings, strict=True):
            words = self._bm25.embed_document(searchable(text))
            vectors.append(DocumentVectors(words, dense))
        return vectors

    def of_query(self, text: str, kind: Kind) -> QueryVectors:
        """Vectors to search an index of this kind with.

        Raises:
            SearchQueryError: There is nothing in it to search for.
            IndexChangedError: The endpoint gives another dimension than the index has.
        """
        text = checked_query(text)
        words = self._bm25.embed_query(searchable(text))
        dense: list[float] | None = None
        degraded = None
        if self._embeddings is not None:
            try:
                (dense,) = self._embeddings.embed([text])
            except DependencyUnavailableError as error:
                degraded = f"searched by words only: {error}"
            else:
                _require_dimension(dense, kind)
        if not words.indices and dense is None:
            message = (
                "there is no word in the query: only letters, digits and symbols such "
                "as emoji can be searched for"
            )
            if degraded:
                message = f"{message}; {degraded}"
            raise SearchQueryError(message)
        return QueryVectors(text, words, dense, degraded)


def _named(model: str | None) -> str:
    return "no embeddings" if model is None else f"embeddings of {model}"


def _require_dimension(vector: Sequence[float] | None, kind: Kind) -> None:
    if vector is not None and len(vector) != kind.dimension:
        message = (
            f"the embeddings of {kind.model} have {len(vector)} numbers now, and those "
            f"in the index {kind.dimension}: set LEARNING_PIPELINE_EMBEDDINGS_MODEL as "
            f"it was, or {REBUILD}"
        )
        raise IndexChangedError(message)
