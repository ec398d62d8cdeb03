"""`dead-letters`: records that could not be processed, and trying them again."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from uuid import uuid4

import click
import msgspec

from learning_pipeline.cli.keys import any_files
from learning_pipeline.cli.output import echo_table
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.errors import (
    ConfigurationError,
    FencedError,
    LearningPipelineError,
    TelemetryError,
)
from learning_pipeline.extraction import build_extractor
from learning_pipeline.extraction.contribution import contribution
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages import Reading
from learning_pipeline.stages.names import PATTERNS_STAGE
from learning_pipeline.stages.retrying import PartitionRetry, RetryOutcome, RetryPlan
from learning_pipeline.store import Store, free_space_guard, patterns
from learning_pipeline.telemetry import ReadLimits

MAX_UNREAD_SHOWN = 5


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at the records that could not be processed, and try them again."""


@dead_letters.command("list")
@any_files
@click.option("--stage", help="Only of this stage.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_dead_letters(
    files: tuple[str, ...], stage: str | None, *, as_json: bool
) -> None:
    """Where each record stands, why it was rejected; all files, or these.

    A FILE is a partition key, as `status` shows it.
    """
    encode = msgspec.json.Encoder().encode
    rows = []
    with stored_so_far(load_settings()) as store:
        letters = store.iterate_dead_letters(stage=stage, keys=files or None)
        for letter in letters:
            if as_json:
                click.echo(encode(letter).decode())
            else:
                rows.append(
                    [
                        letter["partition"],
                        str(letter["generation"]),
                        f"{letter['start_offset']}-{letter['end_offset']}",
                        letter["reason"],
                        letter["detail"],
                    ]
                )
    if as_json:
        return
    if not rows:
        click.echo("No dead letters.")
        return
    echo_table(["partition", "generation", "bytes", "reason", "detail"], rows)


@dead_letters.command("retry")
@any_files
@click.option(
    "--stage", default=PATTERNS_STAGE, show_default=True, help="Of which stage."
)
@click.option("--reason", metavar="CODE", help="Only those rejected for this reason.")
@click.option("--dry-run", is_flag=True, help="Process them, but store nothing.")
def retry_dead_letters(
    files: tuple[str, ...], stage: str, reason: str | None, *, dry_run: bool
) -> int:
    """Process dead letters again, after a fix; of all files, or of these.

    Each is read from its file, rotated or compressed or not, and processed once: the
    commit that removes it adds its rows and mends the counts. One that is rejected
    again stays, with the new reason; one whose bytes are gone stays too, and the exit
    code is 1. A run that is under way on a file is fenced off.
    """
    if stage != PATTERNS_STAGE:
        message = (
            f"what {stage} makes of a record is known to its asset only: rewind it to "
            "before the record, with `checkpoints rewind --stage`, and materialise it "
            f"again. Retried are dead letters of {PATTERNS_STAGE}"
        )
        raise ConfigurationError(message)
    settings = load_settings()
    failed = False
    with stored_so_far(settings) as store:
        found = store.partitions_with_dead_letters(stage=stage, reason=reason)
        chosen = [each for each in found if not files or each in files]
        if not chosen:
            click.echo("No dead letters to retry.")
            return 0
        plan = _plan(settings, reason)
        for partition in chosen:
            try:
                outcome = _retry(store, plan, partition, settings, dry_run=dry_run)
            except (TelemetryError, FencedError) as error:
                click.echo(f"{partition}: {error}", err=True)
                failed = True
                continue
            _say(outcome, dry_run=dry_run)
            failed = failed or bool(outcome.unread)
    return int(failed)


def _plan(settings: Settings, reason: str | None) -> RetryPlan:
    limits = ReadLimits(
        max_records=settings.checkpoint_interval,
        max_batch_bytes=settings.max_batch_bytes,
        max_record_bytes=settings.max_record_bytes,
    )
    return RetryPlan(
        transform=build_extractor(
            settings.dead_letter_raw_bytes,
            settings.extractor_timeout_seconds,
            settings.extractor_memory_bytes,
        ),
        contribution=partial(
            contribution,
            raw_bytes=limits.rejected_raw_bytes,
            dead_letter_raw_bytes=settings.dead_letter_raw_bytes,
        ),
        reading=Reading(
            telemetry_root=settings.telemetry_dir,
            limits=limits,
            read_ahead_bytes=0,
            patterns=settings.patterns,
            require_free_space=free_space_guard(settings),
        ),
        stage=PATTERNS_STAGE,
        reason=reason,
    )


def _retry(
    store: Store,
    plan: RetryPlan,
    partition: str,
    settings: Settings,
    *,
    dry_run: bool,
) -> RetryOutcome:
    one = PartitionRetry(plan, store, partition)
    if dry_run:
        return one.run(None)
    with store.session(
        stage=PATTERNS_STAGE,
        table=patterns,
        run_id=f"retry-{uuid4()}",
        history_count=settings.checkpoint_history,
    ) as session:
        try:
            outcome = one.run(session)
        except BaseException:
            # What is committed is made durable; the first error is the one to show.
            with suppress(LearningPipelineError):
                session.sync([one.claim] if one.claim else [])
            raise
        session.sync([one.claim] if one.claim else [])
        return outcome


def _say(outcome: RetryOutcome, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    click.echo(
        f"{outcome.partition}: {outcome.processed_count} {would}processed, giving "
        f"{outcome.row_count} rows; {outcome.rejected_count} {would}rejected again; "
        f"{len(outcome.unread)} not read"
    )
    for each in outcome.unread[:MAX_UNREAD_SHOWN]:
        letter = each.letter
        click.echo(
            f"  generation {letter.generation}, bytes {letter.start_offset}-"
            f"{letter.end_offset}: {each.why}"
        )
    more = len(outcome.unread) - MAX_UNREAD_SHOWN
    if more > 0:
        click.echo(f"  and {more} more")
