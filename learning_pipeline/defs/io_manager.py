"""The checkpoint IO manager: an asset's lazy stream in, committed rows out.

`load_input` describes what is unread, `handle_output` drains it: each batch's rows
and end offset in one transaction. So reruns, retries, schedules and backfills all
resume from the stored offsets, with no code of their own.
"""

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import dagster as dg

from learning_pipeline import logs
from learning_pipeline.defs.interruption import interrupts_at_boundaries
from learning_pipeline.defs.outcome import WAITING, StepOutcome, forbid_retries
from learning_pipeline.defs.reporting import (
    SOURCE_KEY,
    ObservationReporter,
    ProgressListener,
)
from learning_pipeline.errors import (
    ConfigurationError,
    FencedError,
    LearningPipelineError,
    TelemetryError,
)
from learning_pipeline.model import Progress
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages import (
    DerivedOutput,
    Reading,
    StageOutput,
    TelemetryStream,
    UpstreamRows,
)
from learning_pipeline.stages.audit import file_position
from learning_pipeline.stages.names import LATER_STAGES
from learning_pipeline.stages.passes import Drain, Passes, open_passes
from learning_pipeline.store import Store
from learning_pipeline.store.disk_space import free_space_guard
from learning_pipeline.telemetry import ReadLimits

FEW_FILES = 20
"""In a run of more files each reports only its end: an event costs milliseconds."""

_ROOT_RUN_TAG = "dagster/root_run_id"


class CheckpointIOManager(dg.IOManager):
    """Loads unread telemetry and commits what assets make of it, exactly once.

    Give it to a partitioned asset of your own with
    `io_manager_key="checkpoint_io_manager"`: the asset takes `telemetry_file` and
    returns `telemetry_file.rows(function, into=table)`.

    Guarantees:
        Killed anywhere, the next run of the partition goes on behind the last
        commit: no row is lost and none is there twice.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        replay_from_start: bool = False,
        listeners: Sequence[ProgressListener] = (),
    ) -> None:
        """Use the database, telemetry root and limits of `settings`.

        Args:
            settings: Of this process.
            replay_from_start: Read the current generations again from offset 0,
                replacing the rows; once per run, its retries included.
            listeners: Called with the progress after each commit.
        """
        self._settings = settings
        self._replay_from_start = replay_from_start
        self._listeners = listeners

    def load_input(self, context: dg.InputContext) -> TelemetryStream | UpstreamRows:
        """Describe what is unread of the run's partitions; nothing is read yet.

        Of `telemetry_file` that is telemetry, of a stage what it has committed.
        """
        if not context.has_asset_partitions:
            message = (
                f"{context.asset_key.to_user_string()} is loaded by partition: give "
                "the asset partitions_def=telemetry_files"
            )
            raise ConfigurationError(message)
        partitions = tuple(sorted(context.asset_partition_keys))
        if context.asset_key == SOURCE_KEY:
            return TelemetryStream(partitions)
        return UpstreamRows(partitions, context.asset_key.to_user_string())

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Drain the stream of every partition of the run into commits.

        A file that fails does not keep the others from being processed, nor from
        being materialised.

        Raises:
            dagster.Failure: A file failed; the message names each and its remedy.
                Or nothing could go on, such as without the database.
        """
        try:
            self._store_output(context, obj)
        except LearningPipelineError as error:
            if not error.retryable:
                forbid_retries(context)
            raise dg.Failure(
                description=str(error), allow_retries=error.retryable
            ) from error

    def _store_output(self, context: dg.OutputContext, obj: object) -> None:
        if not isinstance(obj, StageOutput | DerivedOutput):
            message = (
                f"{context.asset_key.to_user_string()} returned a "
                f"{type(obj).__name__}: return telemetry_file.rows(...)"
            )
            raise ConfigurationError(message)
        stage = context.asset_key.to_user_string()
        few = len(obj.partitions) <= FEW_FILES
        log = logs.teed_logger(
            context.log,
            # Each line is an event in Dagster's log, which takes milliseconds.
            level="INFO" if few and stage not in LATER_STAGES else "WARNING",
            stage=stage,
            run_id=context.run_id,
        )
        outcome = StepOutcome()
        with (
            Store(self._settings.resolved_store_url) as store,
            store.session(
                stage=stage,
                table=obj.table,
                run_id=context.run_id,
                history_count=self._settings.checkpoint_history,
                reads=obj.reads if isinstance(obj, DerivedOutput) else None,
            ) as session,
        ):
            self._replay(context, store, stage, obj.partitions, log)
            try:
                with open_passes(obj, store, session, self._reading) as passes:
                    self._drain_all(context, passes, outcome, log)
            except WAITING as error:
                # What it needs could not be opened; nothing was begun.
                for partition in obj.partitions:
                    outcome.wait(partition, error)
            except BaseException:
                # Also when terminated: what is committed is made durable, if it can
                # be. The first error is the one to show.
                with contextlib.suppress(LearningPipelineError):
                    session.sync(outcome.claims)
                raise
            try:
                session.sync(outcome.claims)
            except BaseException:
                outcome.materialize_finished(context)
                raise
            if few and obj.describe is not None:
                for partition in obj.partitions:
                    outcome.described[partition] = obj.describe(store, partition)
        outcome.conclude(context, log)

    def _replay(
        self,
        context: dg.OutputContext,
        store: Store,
        stage: str,
        partitions: Sequence[str],
        log: Any,
    ) -> None:
        if not self._replay_from_start:
            return
        tags: Mapping[str, str] = context.step_context.dagster_run.tags
        replayed_by = tags.get(_ROOT_RUN_TAG, context.run_id)
        for partition in partitions:
            if not self._can_be_read_again(store, stage, partition, log):
                continue
            rewound = store.replay(
                stage=stage, partition=partition, replayed_by=replayed_by
            )
            if rewound is not None:
                log.warning(
                    "replaying_from_start",
                    partition=partition,
                    generation=rewound.generation,
                    from_offset=rewound.from_offset,
                    removed_row_count=rewound.row_count,
                )

    def _can_be_read_again(
        self,
        store: Store,
        stage: str,
        partition: str,
        log: Any,
    ) -> bool:
        # The rows of a file that is gone or another one now could not be replaced.
        for checkpoint in store.checkpoints(
            stage=stage, keys=[partition], with_kinds=False
        ):
            position = file_position(
                self._settings.telemetry_dir,
                self._reading.listings,
                store.known_partitions,
                checkpoint,
            )
            if position.problem is not None:
                log.warning(
                    "replay_left_out", partition=partition, problem=position.problem
                )
                return False
        return True

    def _drain_all(
        self,
        context: dg.OutputContext,
        passes: Passes,
        outcome: StepOutcome,
        log: Any,
    ) -> None:
        reporter = ObservationReporter(
            context,
            interval_seconds=self._settings.progress_seconds,
            # One start is news of a file; that of each later stage is none.
            report_start=len(passes.output.partitions) <= FEW_FILES
            and context.asset_key.to_user_string() not in LATER_STAGES,
        )
        with interrupts_at_boundaries(context) as raise_if_interrupted:

            def on_commit(progress: Progress) -> None:
                for listener in self._listeners:
                    listener(progress)
                reporter(progress)
                try:
                    raise_if_interrupted()
                except BaseException:
                    reporter.observe(progress)
                    raise

            try:
                for partition in passes.output.partitions:
                    raise_if_interrupted()
                    if outcome.waiting_for is not None:
                        outcome.wait(partition, outcome.waiting_for)
                        continue
                    drain = passes.over(partition, on_commit, log)
                    self._drain_one(drain, partition, outcome, log)
                    if partition in outcome.finished:
                        reporter.finish(outcome.finished[partition])
            except BaseException:
                # Whatever ends the run here: the files that are done stay done.
                outcome.materialize_finished(context)
                raise

    def _drain_one(
        self,
        drain: Drain,
        partition: str,
        outcome: StepOutcome,
        log: Any,
    ) -> None:
        try:
            _, progress = drain.run()
        except WAITING as error:
            outcome.wait(partition, error)
            return
        except (TelemetryError, FencedError) as error:
            outcome.failures[partition] = error
            log.error("file_failed", partition=partition, error=str(error))  # noqa: TRY400 - the message says it all
            return
        finally:
            if drain.claim is not None:
                outcome.claims.append(drain.claim)
        outcome.finished[partition] = progress
        for listener in self._listeners:
            listener(progress)
        log.info(
            "file_finished",
            partition=partition,
            offset=progress.offset,
            run_event_count=progress.run_event_count,
            run_row_count=progress.run_row_count,
            run_dead_letter_count=progress.run_dead_letter_count,
        )

    @cached_property
    def _reading(self) -> Reading:
        settings = self._settings
        return Reading(
            telemetry_root=settings.telemetry_dir,
            limits=ReadLimits(
                max_records=settings.checkpoint_interval,
                max_batch_bytes=settings.max_batch_bytes,
                max_record_bytes=settings.max_record_bytes,
            ),
            read_ahead_bytes=settings.read_ahead_bytes,
            patterns=settings.patterns,
            max_bytes=settings.max_bytes_per_run,
            require_free_space=free_space_guard(settings),
        )


def checkpoint_io_manager(
    listeners: Sequence[ProgressListener] = (),
) -> dg.IOManagerDefinition:
    """The resource `checkpoint_io_manager`; settings are read when a run begins.

    Run config `replay_from_start: true` reads the files again from their start.
    """

    @dg.io_manager(
        config_schema={
            "replay_from_start": dg.Field(
                bool,
                default_value=False,
                description=(
                    "Read the current file of each partition again from offset 0, "
                    "replacing its rows. Happens once per run, retries included."
                ),
            )
        },
        description="Commits rows and offsets together; resumes from stored offsets.",
    )
    def build(context: dg.InitResourceContext) -> CheckpointIOManager:
        return CheckpointIOManager(
            load_settings(),
            replay_from_start=context.resource_config["replay_from_start"],
            listeners=listeners,
        )

    return build


__all__ = ["CheckpointIOManager", "checkpoint_io_manager"]
