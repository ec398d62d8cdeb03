"""The whole error tree. A class says cause and remedy; bad records are data."""

from __future__ import annotations

from typing import Any


class LearningPipelineError(Exception):
    """Something went wrong that the operator has to know of.

    The message says what to do. Typed, keyword-only details are attributes.
    """

    retryable = True
    """Whether trying the same again can help with nobody stepping in."""

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        """Keep `details` as attributes; the class docstring is the default message."""
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])
        self.__dict__.update(details)


class ConfigurationError(LearningPipelineError):
    """A setting is missing or wrong; the message names it and its remedy."""

    retryable = False


class ExtractorRegistrationError(ConfigurationError):
    """An extractor from the entry point group cannot be used; fix or uninstall it."""

    name: str


class ExtractorProcessError(LearningPipelineError):
    """The process for users' extractors cannot be started; the message says why."""


class CustomMetricError(LearningPipelineError):
    """A custom metric cannot be recorded; the message says what is allowed."""

    retryable = False


class UnknownProposalError(LearningPipelineError):
    """No proposal has this id, or several begin like it; list them."""

    retryable = False


class UnknownExampleError(LearningPipelineError):
    """No example has this content hash, or several begin like it."""

    retryable = False


class DatasetManifestError(LearningPipelineError):
    """A dataset's manifest cannot be read; export the dataset again."""

    retryable = False


class ProposalPostError(LearningPipelineError):
    """The endpoint refused a proposal; it is posted again the next time."""


class TelemetryError(LearningPipelineError):
    """A telemetry file cannot be read.

    Attributes:
        partition: The partition key.
    """

    partition: str


class InvalidPartitionKeyError(TelemetryError):
    """A partition key names no file below the telemetry root; it was not opened."""

    retryable = False


class TelemetryFileMissingError(TelemetryError):
    """The file is not there; restore it, or delete the partition."""


class TelemetryFileUnreadableError(TelemetryError):
    """The file cannot be opened or read; the message says why."""


class TelemetryFileChangedError(TelemetryError):
    """The file was truncated or rewritten while it was being read.

    Attributes:
        offset: Up to where its bytes were still the known ones.
    """

    offset: int


class TelemetryFilesMovedError(TelemetryError):
    """The files were renamed while they were being looked at; look again."""


class RetentionError(TelemetryError):
    """A rotated file could not be compressed or deleted; it was kept."""


class TelemetryFileInUseError(RetentionError):
    """A rotated file that was to go is written to or renamed by others; it was kept.

    Attributes:
        reason: What somebody did to it.
    """

    reason: str


class ReadingProcessError(TelemetryError):
    """The process that reads a file ahead of the commits ended; run again."""


class StoreError(LearningPipelineError):
    """The state database cannot do what was asked."""


class FencedError(StoreError):
    """Another run claimed this file after this one; the newest claimant goes on.

    Nothing is lost and nothing to do: the other run commits the rest.

    Attributes:
        stage: The asset.
        partition: The partition key.
    """

    retryable = False
    stage: str
    partition: str


class GenerationTakenError(StoreError):
    """Another stage began a generation of this number at the same time; look again."""


class StoreUnavailableError(StoreError):
    """The database is locked, full, read-only or gone; nothing of the batch was kept.

    The message names the cause. Once it is gone, the next run resumes.

    Attributes:
        cause: What the database says is wrong.
        is_in_doubt: The connection was lost while a batch was committed: it may have
            been. The checkpoint tells, and the next run goes by that.
    """

    cause = ""
    is_in_doubt = False


class StateDiskFullError(StoreUnavailableError):
    """The disk of the state is nearly full: free space; the next run resumes.

    Not retryable: a retry writes to that disk too. The sensor asks again once there
    is space.

    Attributes:
        path: The folder whose disk it is.
        free_bytes: How much is left there.
        min_free_bytes: The setting `MIN_FREE_BYTES`.
    """

    retryable = False
    path: str
    free_bytes: int
    min_free_bytes: int


class StateDamagedError(StoreError):
    """The state database is damaged; it was not touched."""

    retryable = False


class StateVersionError(StoreError):
    """The state database was written by another version of learning_pipeline."""

    retryable = False


class StageTableError(StoreError):
    """A stage's table or rows do not fit each other; fix the stage's declaration."""

    retryable = False


class PatternIndexError(LearningPipelineError):
    """The search index cannot do what was asked; the message says why."""


class IndexMissingError(PatternIndexError):
    """There is no search index yet; `learning-pipeline index rebuild` makes it."""

    retryable = False


class IndexForeignError(PatternIndexError):
    """What is there is another program's; it was not touched.

    Name another collection by `QDRANT_COLLECTION`.
    """

    retryable = False


class IndexChangedError(PatternIndexError):
    """The index was made with other settings than there are now, or made anew.

    `learning-pipeline index rebuild` makes it with those that there are now.
    """

    retryable = False


class IndexDamagedError(PatternIndexError):
    """The index is damaged; `learning-pipeline index rebuild` makes it anew."""

    retryable = False


class IndexBusyError(PatternIndexError):
    """Another process has the index; it was waited for, but not for ever.

    Attributes:
        holder: Who has it, and since when, if that is known.
    """

    holder: str


class SearchQueryError(LearningPipelineError):
    """Nothing can be searched for by this query; the message says why."""

    retryable = False


class DependencyUnavailableError(LearningPipelineError):
    """A service that is needed does not answer as it should; it is tried again later.

    Nothing is lost: patterns go on being learned, and what needs the service catches
    up once it is back.

    Attributes:
        dependency: Its name, such as `qdrant`.
        cause: What went wrong last; holds no secrets.
        breaker_state: `closed`, `open` or `half-open`.
        since: When the breaker opened, ISO 8601 in UTC, or None.
        retry_at: Before then it is not asked again, ISO 8601 in UTC, or None.
        retry_after_seconds: How long it asked to be left alone, if it did.
    """

    dependency: str
    cause: str
    breaker_state = "closed"
    since: str | None = None
    retry_at: str | None = None
    retry_after_seconds: float | None = None
