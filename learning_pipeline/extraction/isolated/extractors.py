"""Users' extractors behind a worker process, which is replaced when it must be."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from functools import cache

from learning_pipeline.errors import ExtractorProcessError
from learning_pipeline.extraction.custom import (
    OUT_OF_MEMORY,
    RAN_OUT,
    CheckedDrafts,
    CustomEvent,
)
from learning_pipeline.extraction.decoding import Rejection
from learning_pipeline.extraction.isolated.messages import Answer, WorkerLimits
from learning_pipeline.extraction.isolated.process import (
    TIMED_OUT,
    WorkerEndedError,
    WorkerProcess,
)


class IsolatedExtractors:
    """The extractors of all installed packages, in a process of their own.

    Nothing of the packages is imported here. The worker starts at the first event of
    a kind that is none of the built-in ones.

    Guarantees:
        A record on which its extractor crashes, hangs or outgrows its memory is
        rejected; the ones before and after it are not. What earlier records left in
        a worker is not blamed on a record: only a fresh worker's end is. Not
        promised: that a record that takes about as long as it may always does.
    """

    def __init__(self, limits: WorkerLimits) -> None:
        """Start nothing yet."""
        self._limits = limits
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._names: dict[str, str] | None = None

    def __contains__(self, kind: str) -> bool:
        """Whether one of them takes events of this kind.

        Raises:
            ExtractorRegistrationError: One cannot be used.
            ExtractorProcessError: The worker cannot be started.
        """
        names = self._names
        if names is None:
            with self._lock:
                names = (self._living() or self._start()).names
        return kind in names

    def extract(
        self, events: Sequence[CustomEvent]
    ) -> Iterator[CheckedDrafts | Rejection]:
        """Give the drafts of each event, in order, or why there are none.

        Raises:
            ExtractorRegistrationError: One cannot be used.
            ExtractorProcessError: The worker cannot be started.
        """
        with self._lock:
            for answer in self._ask(events):
                yield answer.drafts or Rejection(answer.reason, answer.detail)

    def close(self) -> None:
        """End the worker; the next record starts another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _ask(self, events: Sequence[CustomEvent]) -> Iterator[Answer]:
        done_count = 0
        while done_count < len(events):
            worker = self._living()
            # Whether nobody but the next record can be to blame for what happens.
            is_fresh = worker is None
            worker = worker or self._start()
            try:
                for answer in worker.ask(events[done_count:]):
                    if answer.reason == OUT_OF_MEMORY:
                        raise WorkerEndedError(OUT_OF_MEMORY, RAN_OUT)  # noqa: TRY301
                    yield answer
                    done_count += 1
                    is_fresh = False
            except WorkerEndedError as ended:
                self.close()
                if is_fresh or ended.reason == TIMED_OUT:
                    name = worker.names[events[done_count].kind]
                    yield Answer(None, ended.reason, f"{name} {ended.how}")
                    done_count += 1
            except BaseException:
                # Interrupted: the answers would be taken for those of other records.
                self.close()
                raise

    def _living(self) -> WorkerProcess | None:
        # Of a worker that a fork inherited, the pipes are the parent's to use.
        if self._worker is not None and self._worker.owner != os.getpid():
            self.close()
        return self._worker

    def _start(self) -> WorkerProcess:
        worker = WorkerProcess(self._limits)
        if self._names is None:
            self._names = worker.names
        elif self._names != worker.names:
            worker.close()
            raise ExtractorProcessError(
                "the extractors of your packages changed while this was running; "
                "run again"
            )
        self._worker = worker
        return worker


@cache
def shared_extractors(limits: WorkerLimits) -> IsolatedExtractors:
    """Return those of this process: one worker serves all of its files."""
    return IsolatedExtractors(limits)
