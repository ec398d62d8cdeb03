"""`search`: the examples that answer a query best, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index import SearchResult, index_home
from learning_pipeline.learning.index.stage import is_known
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store

if TYPE_CHECKING:
    from learning_pipeline.learning.index import SearchFilter
    from learning_pipeline.settings import Settings

PURPOSE = "search"
NOTHING_INDEXED = "nothing is indexed yet; `learning-pipeline process` does that"


def search(
    query: str,
    *,
    limit: int = 10,
    among: SearchFilter | None = None,
    settings: Settings | None = None,
) -> SearchResult:
    """The examples that answer `query` best, as far as they are indexed by now.

    Args:
        query: Words, an identifier, an error message; any language.
        limit: At most so many, 1 to 1,000.
        among: Which to look among; all when None.
        settings: Those of the environment when None.

    Returns:
        Hits, best first. `degraded` says why it was searched in a lesser way, such as
        without meanings while the embeddings endpoint is down or refuses, or that
        nothing is indexed yet.

    Raises:
        SearchQueryError: There is nothing in the query to search for.
        PatternIndexError: The index is gone, damaged, in use or another one.
        DependencyUnavailableError: The Qdrant server does not answer.
    """
    chosen = load_settings() if settings is None else settings
    with Store(chosen.resolved_store_url) as store:
        return search_in(store, chosen, query, limit=limit, among=among)


def search_in(
    store: Store,
    settings: Settings,
    query: str,
    *,
    limit: int,
    among: SearchFilter | None,
) -> SearchResult:
    """The same, of a store that is open."""
    with index_home(settings, Breakers(store, settings)) as home:
        if not is_known(store, home):
            return SearchResult(hits=(), degraded=NOTHING_INDEXED)
        # Before the index is opened: nobody is to wait for the endpoint too.
        vectors = home.vectors_of(query)
        with home.open(PURPOSE) as index:
            return index.search(vectors, limit=limit, among=among)
