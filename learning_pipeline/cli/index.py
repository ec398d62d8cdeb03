"""`index`: make the search index anew, or compare it with what was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from learning_pipeline.cli.output import echo_json
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.settings import load_settings

if TYPE_CHECKING:
    from learning_pipeline.learning.index.comparison import IndexComparison

EXIT_DIFFERS = 1


@click.group()
def index() -> None:
    """Look after the search index, which is a view of what was learned."""


@index.command()
def rebuild() -> None:
    """Replace the index by one made anew of the examples in the state database.

    For one that is gone, damaged, moved, or made with other settings. Nothing else
    is lost or read. Interrupted, run it again, or `process`, which goes on.
    """
    from learning_pipeline.cli.progress import ProgressDisplay  # noqa: PLC0415
    from learning_pipeline.learning.breakers import Breakers  # noqa: PLC0415
    from learning_pipeline.learning.index import index_home  # noqa: PLC0415
    from learning_pipeline.learning.index.rebuilding import (  # noqa: PLC0415
        index_everything,
        start_anew,
    )

    settings = load_settings()
    with stored_so_far(settings) as store:
        target = start_anew(store, settings)
        with ProgressDisplay() as display:
            index_everything(store, settings, display)
        with (
            index_home(settings, Breakers(store, settings)) as home,
            home.open("count the points") as opened,
        ):
            point_count = opened.count()
    click.echo(f"{point_count} examples indexed in {target}.")


@index.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(*, as_json: bool) -> int:
    """Compare the index with the examples in the state database; changes nothing.

    Exit code 0: it has exactly those that it was given. 1: it differs.
    """
    from learning_pipeline.learning.breakers import Breakers  # noqa: PLC0415
    from learning_pipeline.learning.index import index_home  # noqa: PLC0415
    from learning_pipeline.learning.index.comparison import (  # noqa: PLC0415
        compare_index,
    )
    from learning_pipeline.learning.index.searching import NOTHING_INDEXED  # noqa: PLC0415
    from learning_pipeline.learning.index.stage import is_known  # noqa: PLC0415

    settings = load_settings()
    with (
        stored_so_far(settings) as store,
        index_home(settings, Breakers(store, settings)) as home,
    ):
        if not is_known(store, home):
            click.echo(f"Note: {NOTHING_INDEXED}", err=True)
            found = None
        else:
            with home.open("verify") as opened:
                found = compare_index(store, opened)
    if as_json:
        echo_json(None if found is None else msgspec.structs.asdict(found))
    elif found is not None:
        _say(found)
    return 0 if found is None or found.agrees else EXIT_DIFFERS


def _say(found: IndexComparison) -> None:
    click.echo(
        f"{found.example_count} examples, {found.point_count} points, "
        f"{found.waiting_count} examples wait to be indexed."
    )
    for what, count, names in (
        ("examples are missing in the index", found.missing_count, found.missing),
        ("points are no example, or of another place", found.stray_count, found.stray),
    ):
        if count:
            click.echo(f"{count} {what}:")
            for name in names:
                click.echo(f"  {name}")
    if found.agrees:
        click.echo("The index has exactly the examples that it was given.")
    else:
        click.echo("`learning-pipeline index rebuild` makes it anew.")
