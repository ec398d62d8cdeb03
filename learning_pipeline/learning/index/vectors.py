"""What examples and queries are searched by: words, and meanings where configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import qdrant_edge as edge

from learning_pipeline.errors import (
    ConfigurationError,
    DependencyUnavailableError,
    IndexChangedError,
    SearchQueryError,
)
from learning_pipeline.learning.index.points import text_of
from learning_pipeline.learning.index.refused_texts import HARMLESS, TolerantEmbedding
from learning_pipeline.learning.index.texts import checked_query, searchable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learning_pipeline.learning.index.embeddings import Embeddings
    from learning_pipeline.learning.retrying import Meanwhile
    from learning_pipeline.model import Example

_WORDS: Final = "bm25:1"
"""Its number changes with whatever changes the words of a text: see `texts`."""

_MEANING: Final = "+dense:"
_BY_WORDS: Final = "searched by words only"
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
        dense: The meaning; None when the index knows none, or the endpoint refused
            this one: it is found by words.
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

    def fitted(self, kind: Kind) -> QueryVectors:
        """The same, by words only when an index of this kind has other meanings.

        Raises:
            SearchQueryError: There is nothing left to search for.
        """
        if self.dense is None or len(self.dense) == kind.dimension:
            return self
        why = f"{_BY_WORDS}: {_other_dimension(self.dense, kind)}"
        return self._replace(dense=None, degraded=why).required()

    def required(self) -> QueryVectors:
        """The same.

        Raises:
            SearchQueryError: There is nothing in it to search for.
        """
        if self.words.indices or self.dense is not None:
            return self
        message = (
            "there is no word in the query: only letters, digits and symbols such as "
            "emoji can be searched for"
        )
        if self.degraded:
            message = f"{message}; {self.degraded}"
        raise SearchQueryError(message)


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
        (vector,) = self._embeddings.embed([HARMLESS])
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
        self,
        examples: Sequence[Example],
        kind: Kind,
        *,
        meanwhile: Meanwhile | None = None,
    ) -> list[DocumentVectors]:
        """Vectors for an index of this kind.

        Args:
            examples: Of which.
            kind: The index's.
            meanwhile: Done a few times a second while the endpoint is waited for, and
                after each request; its errors are raised.

        Raises:
            IndexChangedError: The endpoint gives another dimension than the index has.
            DependencyUnavailableError: It does not answer.
            ConfigurationError: It refuses all that it is asked.
        """
        texts = [text_of(example) for example in examples]
        meanings: Sequence[list[float] | None] = [None] * len(texts)
        if self._embeddings is not None:
            meanings = TolerantEmbedding(self._embeddings, meanwhile).embed(texts)
            for meaning in meanings:
                if meaning is not None and len(meaning) != kind.dimension:
                    raise IndexChangedError(_other_dimension(meaning, kind))
        vectors = []
        for text, dense in zip(texts, meanings, strict=True):
            words = self._bm25.embed_document(searchable(text))
            vectors.append(DocumentVectors(words, dense))
        return vectors

    def of_query(self, text: str) -> QueryVectors:
        """Vectors to search with; asks the endpoint once, and does without it.

        Raises:
            SearchQueryError: There is nothing in it to search for.
        """
        text = checked_query(text)
        words = self._bm25.embed_query(searchable(text))
        dense: list[float] | None = None
        degraded = None
        if self._embeddings is not None:
            try:
                (dense,) = self._embeddings.embed([text], attempts=1)
            except (DependencyUnavailableError, ConfigurationError) as error:
                # The index by words is whole, whatever is wrong with the endpoint.
                degraded = f"{_BY_WORDS}: {error}"
        return QueryVectors(text, words, dense, degraded).required()


def _named(model: str | None) -> str:
    return "no embeddings" if model is None else f"embeddings of {model}"


def _other_dimension(vector: Sequence[float], kind: Kind) -> str:
    return (
        f"the embeddings of {kind.model} have {len(vector)} numbers now, and those in "
        f"the index {kind.dimension}: set LEARNING_PIPELINE_EMBEDDINGS_MODEL as it "
        f"was, or {REBUILD}"
    )
