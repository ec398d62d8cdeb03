"""`metrics`: how well agents do, per day, kind and backend."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from learning_pipeline.cli.moments import MomentType, require_order
from learning_pipeline.cli.output import (
    echo_json,
    echo_json_list,
    echo_long_table,
    echo_table,
)
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.settings import load_settings
from learning_pipeline.store.chunks import NONE_STATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from learning_pipeline.store import Store

# As `aggregation` has them; that takes a second to import.
GROUPS: Final = ("day", "kind", "backend", "task_type", "partition")
DEFAULT_GROUPS: Final = ("day", "kind", "backend")
CHUNK_ROWS: Final = 10_000

_since = click.option(
    "--since",
    type=MomentType(),
    metavar="TIME",
    help="From this on; UTC unless it states a zone.",
)
_until = click.option(
    "--until", type=MomentType(), metavar="TIME", help="Up to this, without it."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    type=click.Choice(GROUPS),
    multiple=True,
    default=DEFAULT_GROUPS,
    show_default=True,
    help="A line per what; can be given several times.",
)
@_since
@_until
@click.option("--kind", "kinds", multiple=True, help="Only of this kind of event.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    help="Only of this backend or model; `(none)`: of none that is stated.",
)
@click.option("--partition", "partitions", multiple=True, help="Only of this file.")
@_as_json
@click.pass_context
def metrics(context: click.Context, /, **options: Any) -> None:
    """Success, iterations, latency, resolution time and tokens of measured events.

    Days are those of the events' timestamps, in UTC. The success rate is that of the
    events of which it is known. Median and 95th percentile of the latency are right
    within 1 %. Of more than 20,000 groups the smallest are one, `(other)`.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context, context.invoked_subcommand)
        return
    require_order(options["since"], options["until"])
    from learning_pipeline.learning.metrics.aggregation import (  # noqa: PLC0415 - pandas
        MAX_GROUPS,
        OTHER,
        aggregate,
        records,
        select,
    )

    where = select(
        partitions=options["partitions"] or None,
        kinds=options["kinds"] or None,
        backends=options["backends"] or None,
        since=options["since"],
        until=options["until"],
    )
    by = tuple(dict.fromkeys(options["by"]))
    with stored_so_far(load_settings()) as store:
        found = records(aggregate(store, by=by, where=where))
    if options["as_json"]:
        echo_json(found)
    elif found:
        echo_table([*by, *_SHOWN], [_row(by, line) for line in found])
    else:
        click.echo("Nothing was measured.")
    if len(found) > MAX_GROUPS:
        click.echo(
            f"Note: there are more than {MAX_GROUPS:,} groups; all but the largest are "
            f"added up as {OTHER}. Choose with --since, --kind, --backend or "
            "--partition to see them, or give fewer --by.",
            err=True,
        )


@metrics.command("custom")
@click.option("--name", "names", multiple=True, help="Only of this name.")
@_since
@_until
@_as_json
def custom(
    names: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    *,
    as_json: bool,
) -> None:
    """The values that `learning_pipeline.record_metric` recorded, by time."""
    require_order(since, until)
    with stored_so_far(load_settings()) as store:
        found = _custom(store, names, since, until)
        if as_json:
            echo_json_list(found)
            return
        columns = ["recorded_at", "name", "value", "labels"]
        rows = ([str(line[name]) for name in columns] for line in found)
        if not echo_long_table(["recorded at", *columns[1:]], rows):
            click.echo("No custom metrics.")


def _custom(
    store: Store,
    names: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> Iterator[dict[str, Any]]:
    from learning_pipeline.learning.events.moments import canonical_moment  # noqa: PLC0415
    from learning_pipeline.store.chunks import (  # noqa: PLC0415
        Selection,
        custom_metric_chunks,
    )

    columns = ("metric_id", "name", "value", "labels", "recorded_at")
    where = Selection(since=canonical_moment(since), until=canonical_moment(until))
    for chunk in custom_metric_chunks(
        store, columns, where, chunk_rows=CHUNK_ROWS, names=names or None
    ):
        for row in chunk:
            yield dict(zip(columns, row, strict=True))


def _refuse_options_before(context: click.Context, subcommand: str) -> None:
    given = [
        each.opts[0]
        for each in context.command.params
        if each.name is not None
        and context.get_parameter_source(each.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        message = (
            f"{', '.join(given)} before `{subcommand}` would be ignored: give options "
            f"behind it, as in `metrics {subcommand} {given[0]} …`"
        )
        raise click.UsageError(message)


def _row(by: tuple[str, ...], line: dict[str, Any]) -> list[str]:
    return [_group(line[name]) for name in by] + [
        "" if line[name] is None else form.format(line[name])
        for name, form in _SHOWN.values()
    ]


def _group(name: str | None) -> str:
    if name is None:
        return NONE_STATED
    # What is literally called so is told from what is called nothing.
    return f'"{name}"' if name == NONE_STATED else name


_SHOWN: Final = {
    "events": ("event_count", "{:,}"),
    "success": ("success_rate", "{:.1%}"),
    "iterations": ("iterations_mean", "{:.2f}"),
    "latency ms": ("latency_ms_mean", "{:,.0f}"),
    "p50": ("latency_ms_p50", "{:,.0f}"),
    "p95": ("latency_ms_p95", "{:,.0f}"),
    "resolution s": ("resolution_seconds_mean", "{:,.1f}"),
    "tokens in": ("tokens_in", "{:,}"),
    "tokens out": ("tokens_out", "{:,}"),
}
