"""The job `search`: what was learned, found by words, as a table in the UI."""

from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

import dagster as dg
from pydantic import Field

from learning_pipeline.defs.tables import FLOAT, TEXT, table
from learning_pipeline.errors import ConfigurationError, LearningPipelineError
from learning_pipeline.learning.events.moments import canonical_moment
from learning_pipeline.learning.index import SearchFilter, SearchHit, SearchResult
from learning_pipeline.learning.index.searching import search_in
from learning_pipeline.learning.report.labels import shown_label
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store

MAX_HITS = 200
"""More than one reads; each run keeps its table."""

MAX_FILTER_VALUES = 100
EXCERPT_CHARS = 240
HASH_CHARS = 12
_TO_THE_MINUTE = len("2026-05-28 18:14")
EXAMPLE_QUERY = "connection refused"


class SearchConfig(dg.Config):
    """What to search for, and among what; what is empty leaves all."""

    query: str = Field(
        description="Words, an identifier, an error message; any language."
    )
    limit: int = Field(
        default=10, description=f"At most so many results, 1 to {MAX_HITS}."
    )
    kinds: list[str] = Field(default=[], description="Of events of these kinds.")
    backends: list[str] = Field(
        default=[],
        description="Answered by these backends or models; `(none)`: by none stated.",
    )
    partitions: list[str] = Field(default=[], description="From these files.")
    since: str = Field(
        default="",
        description="Happened then or later: ISO 8601, UTC unless it states a zone.",
    )
    until: str = Field(default="", description="Happened before then.")


@dg.op(out=dg.Out(dg.Nothing))
def search_examples(context: dg.OpExecutionContext, config: SearchConfig) -> None:
    """Find the examples that answer the query best; the metadata has them."""
    settings = load_settings()
    try:
        among = _filter(config)
        with Store(settings.resolved_store_url) as store:
            result = search_in(
                store, settings, config.query, limit=config.limit, among=among
            )
    except LearningPipelineError as error:
        _fail(error)
    context.log.info("%s examples found", len(result.hits))
    if result.degraded is not None:
        context.log.warning(result.degraded)
    context.add_output_metadata(_metadata(config.query, result))


def _filter(config: SearchConfig) -> SearchFilter:
    if not 1 <= config.limit <= MAX_HITS:
        raise ConfigurationError(f"limit is {config.limit}: give 1 to {MAX_HITS}")
    for name in ("kinds", "backends", "partitions"):
        if len(getattr(config, name)) > MAX_FILTER_VALUES:
            raise ConfigurationError(f"{name}: give at most {MAX_FILTER_VALUES}")
    since, until = _moment("since", config.since), _moment("until", config.until)
    if since is not None and until is not None and since >= until:
        raise ConfigurationError("since must be before until")
    return SearchFilter(
        kinds=tuple(config.kinds),
        backends=tuple(config.backends),
        partitions=tuple(config.partitions),
        since=since,
        until=until,
    )


def _moment(name: str, text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        canonical = canonical_moment(text.strip())
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    return None if canonical is None else datetime.fromisoformat(canonical)


def _fail(error: LearningPipelineError) -> NoReturn:
    # What is wrong is said in full; where in the code it was noticed helps nobody.
    raise dg.Failure(description=str(error), allow_retries=False) from None


def _metadata(query: str, result: SearchResult) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {
        "query": dg.MetadataValue.text(shown_label(query, EXCERPT_CHARS)),
        "result_count": dg.MetadataValue.int(len(result.hits)),
        "results": _results(result.hits),
    }
    if result.degraded is not None:
        metadata["note"] = dg.MetadataValue.text(result.degraded)
    return metadata


def _results(hits: Sequence[SearchHit]) -> dg.MetadataValue:
    return table(
        {
            "score": FLOAT,
            "prompt": TEXT,
            "response": TEXT,
            "about": TEXT,
            "source": TEXT,
            "content_hash": TEXT,
        },
        (
            (
                float(f"{hit.score:.3g}"),
                shown_label(hit.prompt, EXCERPT_CHARS),
                shown_label(hit.response, EXCERPT_CHARS),
                ", ".join(_about(hit)),
                _source(hit),
                hit.content_hash[:HASH_CHARS],
            )
            for hit in hits
        ),
    )


def _source(hit: SearchHit) -> str:
    file = shown_label(hit.partition, EXCERPT_CHARS)
    return f"{file}, generation {hit.generation}, byte {hit.offset}"


def _about(hit: SearchHit) -> list[str]:
    when = hit.timestamp and hit.timestamp.replace("T", " ")[:_TO_THE_MINUTE]
    return [shown_label(part) for part in (hit.kind, hit.backend, when) if part]


@dg.job(
    executor_def=dg.in_process_executor,
    config=dg.RunConfig({"search_examples": SearchConfig(query=EXAMPLE_QUERY)}),
    # Who searches waits for the answer, and tries again as they like.
    tags={"dagster/max_retries": "0"},
)
def search() -> None:
    """Find the examples that answer a query best: change it in the Launchpad.

    The run's page shows them: in the metadata of the step's output, as a table.
    """
    search_examples()
