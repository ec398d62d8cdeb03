"""`report`: everything that was learned, at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from learning_pipeline.cli.output import atomic_output, echo_json, echo_table
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import load_settings

if TYPE_CHECKING:
    from learning_pipeline.learning.report.facts import ReportFacts

DAYS_SHOWN = 14
FILES_SHOWN = 20
BYTES_UNKNOWN = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "--charts",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the charts there, as PNG files.",
)
def report(*, as_json: bool, folder: Path | None) -> None:
    """Files, patterns, dataset, index, services, metrics and proposals at a glance.

    The same as the asset `learning_report` shows in the UI. It asks no service, so it
    comes out whatever is down.
    """
    from learning_pipeline.learning.report.gathering import gather  # noqa: PLC0415 - pandas
    from learning_pipeline.stages.fleet import look_at_fleet  # noqa: PLC0415 - slow

    settings = load_settings()
    with stored_so_far(settings) as store:
        fleet = look_at_fleet(store, settings)
        facts = gather(store, settings, fleet, now=datetime.now(UTC))
    if fleet.problem is not None:
        click.echo(f"Note: without files: {fleet.problem}", err=True)
    if as_json:
        echo_json(facts)
    else:
        _print(facts)
    if folder is not None:
        for path in _write_charts(facts, folder):
            click.echo(f"written: {path}", err=True)


def _print(facts: ReportFacts) -> None:
    from learning_pipeline.learning.report.wording import headline  # noqa: PLC0415

    for line in headline(facts):
        click.echo(line)
    for title, columns, rows in _tables(facts):
        if rows:
            click.secho(f"\n{title}", bold=True)
            echo_table(columns, rows)


def _tables(facts: ReportFacts) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    from learning_pipeline.learning.report.labels import (  # noqa: PLC0415 - slow
        shown_bytes,
        shown_label,
    )
    from learning_pipeline.learning.report.wording import row_count  # noqa: PLC0415

    yield (
        "Stages",
        ["stage", "unread", "files behind", "rows"],
        [
            [
                each.stage,
                BYTES_UNKNOWN
                if each.lag_bytes is None
                else shown_bytes(each.lag_bytes),
                f"{each.behind_count:,}",
                f"{row_count(facts, each):,}",
            ]
            for each in facts.files.stages
        ],
    )
    yield (
        _of("Files that lag most", FILES_SHOWN, facts.files.behind_count),
        ["file", "unread", "done", "events", "patterns", "slowest stage"],
        [
            [
                shown_label(each.partition),
                shown_bytes(each.lag_bytes),
                f"{each.percent:.1f} %",
                f"{each.event_count:,}",
                f"{each.pattern_count:,}",
                each.slowest_stage,
            ]
            for each in facts.files.files[:FILES_SHOWN]
            if each.lag_bytes
        ],
    )
    yield (
        "Patterns by kind",
        ["kind", "patterns", "examples"],
        [
            [
                shown_label(each.kind),
                f"{each.pattern_count:,}",
                f"{each.example_count:,}",
            ]
            for each in facts.patterns.by_kind
        ],
    )
    yield (
        _of("Examples by day", DAYS_SHOWN, len(facts.examples.by_day)),
        ["day", "examples", "all so far"],
        [
            [each.day, f"{each.example_count:,}", f"{each.total_count:,}"]
            for each in facts.examples.by_day[-DAYS_SHOWN:]
        ],
    )
    yield (
        "Dead letters",
        ["reason", "stage", "records"],
        [
            [shown_label(each.reason), each.stage, f"{each.count:,}"]
            for each in facts.dead_letters.by_reason
        ],
    )
    yield (
        "Backends"
        if facts.metrics.since is None
        else f"Backends since {facts.metrics.since}",
        ["backend", "events", "success", "latency ms", "p50", "p95"],
        [
            [
                shown_label(each.backend),
                f"{each.event_count:,}",
                "" if each.success_rate is None else f"{each.success_rate:.1%}",
                _figure(each.latency_ms_mean),
                _figure(each.latency_ms_p50),
                _figure(each.latency_ms_p95),
            ]
            for each in facts.metrics.backends
        ],
    )
    yield (
        "Proposals to decide about",
        ["id", "status", "samples", "title"],
        [
            [
                each.proposal_id,
                each.status,
                f"{each.sample_count:,}",
                shown_label(each.title),
            ]
            for each in facts.proposals.first
        ],
    )


def _of(title: str, shown: int, count: int) -> str:
    return title if count <= shown else f"{title} ({shown} of {count:,})"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _write_charts(facts: ReportFacts, folder: Path) -> Iterator[Path]:
    from learning_pipeline.learning.report.charts import draw_charts  # noqa: PLC0415 - slow

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot write to {folder}: {error.strerror}"
        raise ConfigurationError(message) from error
    for name, png in draw_charts(facts).items():
        path = folder / f"{name}.png"
        with atomic_output(str(path)) as file:
            file.write(png)
        yield path
