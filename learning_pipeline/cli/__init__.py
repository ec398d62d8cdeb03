"""The `learning-pipeline` command."""

from __future__ import annotations

import os
import sys

import click

from learning_pipeline import logs
from learning_pipeline.cli.backup import backup
from learning_pipeline.cli.checkpoints import checkpoints
from learning_pipeline.cli.dead_letters import dead_letters
from learning_pipeline.cli.demo import demo
from learning_pipeline.cli.dev import dev
from learning_pipeline.cli.doctor import doctor
from learning_pipeline.cli.explain import explain
from learning_pipeline.cli.export import export
from learning_pipeline.cli.index import index
from learning_pipeline.cli.metrics import metrics
from learning_pipeline.cli.process import process
from learning_pipeline.cli.proposals import proposals
from learning_pipeline.cli.rebuild import rebuild
from learning_pipeline.cli.report import report
from learning_pipeline.cli.retain import retain
from learning_pipeline.cli.search import search
from learning_pipeline.cli.status import status
from learning_pipeline.errors import ConfigurationError, LearningPipelineError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="learning_pipeline")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="WARNING",
    show_default=True,
    help="The least level of log lines on standard error.",
)
def cli(log_level: str) -> None:
    """Turn the growing JSONL telemetry of AI agents into patterns, exactly once.

    Settings are environment variables LEARNING_PIPELINE_…; the README lists them.
    The two that matter first: LEARNING_PIPELINE_TELEMETRY_DIR, where the telemetry
    is (./telemetry), and LEARNING_PIPELINE_STATE_DIR, where what was learned goes
    (./.learning_pipeline).
    """
    logs.configure(level=log_level)


for command in (
    process,
    dev,
    demo,
    status,
    report,
    checkpoints,
    dead_letters,
    export,
    explain,
    search,
    index,
    metrics,
    proposals,
    doctor,
    backup,
    rebuild,
    retain,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; errors become one clear line and an exit code."""
    try:
        outcome = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigurationError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except LearningPipelineError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # The reader of our output went away, like `| head` does.
        _drop_output()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        _drop_output()
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_FAILED)
    sys.exit(outcome if isinstance(outcome, int) else 0)


def _drop_output() -> None:
    # What is still buffered cannot be written; Python would try again at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
