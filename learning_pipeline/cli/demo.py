"""`demo`: sample telemetry, processed."""

from __future__ import annotations

import shutil
from importlib import resources

import click

from learning_pipeline.cli.process import process_files
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.testing.generator import write_telemetry

FOLDER = "demo"


@click.command()
@click.option(
    "--events",
    "event_count",
    default=2000,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Events of each generated file.",
)
def demo(event_count: int) -> int:
    """Write sample telemetry below the telemetry root, and process it.

    One file is real: 106 events that an agent stack wrote, from a public repository
    under the MIT licence. Two are generated. Files that are there are left alone.
    """
    settings = load_settings()
    folder = settings.telemetry_dir / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        real = folder / "hybrid-events.jsonl"
        if not real.exists():
            source = resources.files("learning_pipeline.testing") / "data" / real.name
            with resources.as_file(source) as path:
                shutil.copyfile(path, real)
            click.echo(f"wrote {real}: 106 events of a real agent stack")
        for seed in (1, 2):
            generated = folder / f"generated-{seed}.jsonl"
            if not generated.exists():
                write_telemetry(generated, event_count, seed=seed)
                click.echo(f"wrote {generated}: {event_count} generated events")
    except OSError as error:
        message = f"cannot write {error.filename}: {error.strerror}"
        raise ConfigurationError(message) from error
    code = process_files(settings, ())
    _report(settings)
    click.echo(
        "\nNext:\n"
        "  learning-pipeline status            how far every file is\n"
        "  learning-pipeline report            everything at a glance\n"
        '  learning-pipeline search "disk"     what was learned about that\n'
        "  learning-pipeline export dataset    examples to train on, one a line\n"
        "  learning-pipeline dev               the web UI, on http://127.0.0.1:3000\n"
        f"Append lines to a file in {folder} and run `learning-pipeline process`: it\n"
        "goes on from the byte where it stood."
    )
    return code


def _report(settings: Settings) -> None:
    # Seconds to import, and loaded by now.
    from learning_pipeline.cli.home import dagster_instance  # noqa: PLC0415
    from learning_pipeline.cli.runs import execute_report  # noqa: PLC0415

    with dagster_instance(settings) as instance:
        problem = execute_report(instance)
    if problem is not None:
        click.echo(f"Warning: report: {problem}", err=True)
