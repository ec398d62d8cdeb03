"""`doctor`: is everything as it has to be?"""

from __future__ import annotations

import click

from learning_pipeline.cli.health import Check, Level, all_checks
from learning_pipeline.cli.output import echo_json
from learning_pipeline.settings import load_settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def doctor(*, as_json: bool) -> int:
    """Look at settings, telemetry, disk and the whole state database; change nothing.

    Every page and row of the state database is read. Exits with 1 when there is a
    problem, 0 otherwise.
    """
    settings = load_settings()
    found = []
    for check in all_checks(settings):
        found.append(check)
        if not as_json:
            _say(check)
    if as_json:
        echo_json({"checks": found})
    return 1 if any(check.level is Level.PROBLEM for check in found) else 0


def _say(check: Check) -> None:
    remedy = f" ({check.remedy})" if check.remedy else ""
    click.echo(f"{check.level.value:<8} {check.name}: {check.detail}{remedy}")
