"""`search`: examples by their words and meaning."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click
import msgspec

from learning_pipeline.cli.moments import MomentType, require_order
from learning_pipeline.cli.output import echo_json, printable
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.settings import load_settings

if TYPE_CHECKING:
    from learning_pipeline.learning.index import SearchHit

EXCERPT_CHARS = 300


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="At most so many.",
)
@click.option("--kind", "kinds", multiple=True, help="Of this kind; repeatable.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    help="Answered by this one, `(none)`: by none that is stated; repeatable.",
)
@click.option(
    "--partition", "partitions", multiple=True, help="From this file; repeatable."
)
@click.option("--since", type=MomentType(), help="Happened then or later (ISO 8601).")
@click.option("--until", type=MomentType(), help="Happened before then (ISO 8601).")
@click.option("--json", "as_json", is_flag=True, help="A list, best first.")
def search(  # noqa: PLR0913 - one for each option
    *,
    query: tuple[str, ...],
    limit: int,
    kinds: tuple[str, ...],
    backends: tuple[str, ...],
    partitions: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """Find what was learned: the examples that answer QUERY best.

    QUERY is any text: words, an identifier, an error message. Those that hold it word
    for word come first. `learning-pipeline explain` shows the line behind a hit.
    """
    # The engine takes a while to import; wrong usage should not wait for it.
    from learning_pipeline.learning.index import SearchFilter  # noqa: PLC0415
    from learning_pipeline.learning.index.searching import search_in  # noqa: PLC0415

    require_order(since, until)
    settings = load_settings()
    among = SearchFilter(
        kinds=kinds,
        backends=backends,
        partitions=partitions,
        since=since,
        until=until,
    )
    with stored_so_far(settings) as store:
        result = search_in(store, settings, " ".join(query), limit=limit, among=among)
    if result.degraded is not None:
        click.echo(f"Note: {result.degraded}", err=True)
    if as_json:
        echo_json([msgspec.structs.asdict(hit) for hit in result.hits])
        return
    for hit in result.hits:
        _echo(hit)
    if not result.hits:
        click.echo("Nothing found.")


def _echo(hit: SearchHit) -> None:
    about = ", ".join(part for part in (hit.kind, hit.backend, hit.timestamp) if part)
    head = f"{hit.score:.3f}  {hit.content_hash[:12]}  {printable(about)}"
    click.secho(head, bold=True)
    place = f"generation {hit.generation}, byte {hit.offset}"
    click.echo(f"  from {printable(hit.partition)}, {place}")
    click.echo(f"  {_excerpt(hit.prompt)}")
    click.echo(f"  → {_excerpt(hit.response)}\n")


def _excerpt(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= EXCERPT_CHARS else f"{line[:EXCERPT_CHARS]} …"
