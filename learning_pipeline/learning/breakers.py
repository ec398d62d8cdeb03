"""Circuit breakers: a service that keeps failing is left alone for a while.

Their state is in the state database: what one process has found out, all know, also
after a restart. Each call asks there, which takes less than a millisecond; only a
failure, and the success after one, write.

A call must not be made inside a transaction of the state database: what a breaker
writes would wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import pybreaker

from learning_pipeline import logs
from learning_pipeline.errors import DependencyUnavailableError
from learning_pipeline.extraction import Redactor
from learning_pipeline.store.breakers import (
    BreakerChange,
    BreakerState,
    breaker_states,
    change_breaker,
)

if TYPE_CHECKING:
    from learning_pipeline.settings import Settings
    from learning_pipeline.store import Store

QDRANT: Final = "qdrant"
EMBEDDINGS: Final = "embeddings"
PROPOSALS_ENDPOINT: Final = "proposals_endpoint"
DEPENDENCIES: Final = (QDRANT, EMBEDDINGS, PROPOSALS_ENDPOINT)
"""Every service that has a breaker."""

_LONGEST_CAUSE_CHARS = 300

Result = TypeVar("Result")
Clock = Callable[[], datetime]


def utc_clock() -> datetime:
    """The time."""
    return datetime.now(UTC)


class Breakers:
    """The breakers of one state database."""

    def __init__(
        self, store: Store, settings: Settings, *, clock: Clock = utc_clock
    ) -> None:
        """Take the store, the settings that begin with `breaker_`, and the time."""
        self._store = store
        self._settings = settings
        self._clock = clock

    def of(self, dependency: str) -> Breaker:
        """The breaker of one of `DEPENDENCIES`."""
        return Breaker(self._store, dependency, self._settings, self._clock)

    def states(self) -> list[BreakerState]:
        """All of them, by name, also those that never had anything to say."""
        known = {state.name: state for state in breaker_states(self._store)}
        names = sorted(set(DEPENDENCIES) | known.keys())
        return [known.get(name, BreakerState(name=name)) for name in names]


class Breaker:
    """Guards the calls to one dependency.

    A call tells by `DependencyUnavailableError` that the dependency failed: it could
    not be reached, took too long, answered 429 or 5xx, or garbage. Any other exception
    shows that it is there, such as a 400: it is passed on and counts as a success. An
    interruption says nothing and counts as neither.
    """

    def __init__(
        self, store: Store, dependency: str, settings: Settings, clock: Clock
    ) -> None:
        """Take what it needs; nothing is asked yet."""
        self._dependency = dependency
        self._settings = settings
        self._clock = clock
        self._storage = _Storage(store, dependency, clock)

    def call(self, function: Callable[[], Result]) -> Result:
        """What `function` returns, which must not be a generator.

        Raises:
            DependencyUnavailableError: It failed, or it failed so often that it was
                not called at all.
        """
        # Made anew for each call: the library's own copy of the state would be that of
        # the last call, whatever other processes have found out since.
        breaker = pybreaker.CircuitBreaker(
            fail_max=self._settings.breaker_failures,
            reset_timeout=self._settings.breaker_reset_seconds,
            exclude=[_is_not_its_fault],
            listeners=[_Listener(self._dependency, self._storage)],
            state_storage=self._storage,
            name=self._dependency,
            throw_new_error_on_trip=False,
        )
        try:
            result: Result = breaker.call(self._quiet_when_interrupted, function)
        except pybreaker.CircuitBreakerError:
            raise self._unavailable(None) from None
        except DependencyUnavailableError as error:
            raise self._unavailable(error.cause, error.retry_after_seconds) from error
        finally:
            self._storage.is_frozen = False
        return result

    def _quiet_when_interrupted(self, function: Callable[[], Result]) -> Result:
        try:
            return function()
        except Exception:
            raise
        except BaseException:
            self._storage.is_frozen = True
            raise

    def _unavailable(
        self, cause: str | None, retry_after_seconds: float | None = None
    ) -> DependencyUnavailableError:
        state = self._storage.read()
        cause = cause or state.last_error or "it failed too often"
        since = retry_at = None
        if state.state == pybreaker.STATE_OPEN and state.opened_at:
            since = state.opened_at
            wait = timedelta(seconds=self._settings.breaker_reset_seconds)
            retry_at = (datetime.fromisoformat(since) + wait).isoformat()
        when = (
            f"it has been left alone since {since} and is tried again at {retry_at}"
            if since
            else f"that was failure {state.failure_count} in a row, and after "
            f"{self._settings.breaker_failures} it is left alone for a while"
        )
        return DependencyUnavailableError(
            f"{self._dependency} is not available: {cause}; {when}. Nothing is lost: "
            "what needs it catches up with the next run that finds it there",
            dependency=self._dependency,
            cause=cause,
            breaker_state=state.state,
            since=since,
            retry_at=retry_at,
            retry_after_seconds=retry_after_seconds,
        )


def unavailable(
    dependency: str, cause: str, *, retry_after_seconds: float | None = None
) -> DependencyUnavailableError:
    """The error by which a call tells its breaker that the dependency failed.

    Args:
        dependency: Its name.
        cause: What went wrong, without secrets and without text from telemetry.
        retry_after_seconds: How long it asks to be left alone, if it does.
    """
    return DependencyUnavailableError(
        f"{dependency} is not available: {cause}",
        dependency=dependency,
        cause=cause,
        retry_after_seconds=retry_after_seconds,
    )


def _is_not_its_fault(error: BaseException) -> bool:
    return not isinstance(error, DependencyUnavailableError)


class _Storage(pybreaker.CircuitBreakerStorage):
    """The library's view of a row of `breakers`.

    Attributes:
        is_frozen: Whether what it is told is not written.
    """

    def __init__(self, store: Store, dependency: str, clock: Clock) -> None:
        super().__init__(dependency)
        self._store = store
        self._clock = clock
        self._redactor = Redactor()
        self.is_frozen = False

    def read(self) -> BreakerState:
        """The row."""
        found = breaker_states(self._store, [self.name])
        return found[0] if found else BreakerState(name=self.name)

    def note_error(self, error: BaseException) -> None:
        """Remember what went wrong."""
        text = " ".join(str(getattr(error, "cause", error)).split())
        redacted, _ = self._redactor.redact(text)
        self._write(BreakerChange(last_error=redacted[:_LONGEST_CAUSE_CHARS]))

    @property
    def state(self) -> str:
        """Closed, open or half-open."""
        return self.read().state

    @state.setter
    def state(self, state: str) -> None:
        self._write(BreakerChange(state=state))

    def increment_counter(self) -> None:
        """Count a failure."""
        self._write(BreakerChange(added_failures=1))

    def reset_counter(self) -> None:
        """Forget the failures; the usual success writes nothing."""
        if self.counter:
            self._write(BreakerChange(failure_count=0))

    def increment_success_counter(self) -> None:
        """Count a success while half-open."""
        self._write(BreakerChange(added_successes=1))

    def reset_success_counter(self) -> None:
        """Forget the successes."""
        if self.success_counter:
            self._write(BreakerChange(success_count=0))

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self.read().failure_count

    @property
    def success_counter(self) -> int:
        """Successes in a row while half-open."""
        return self.read().success_count

    @property
    def opened_at(self) -> datetime | None:
        """When it opened, on the clock that the library reads."""
        opened_at = self.read().opened_at
        if opened_at is None:
            return None
        since = self._clock() - datetime.fromisoformat(opened_at)
        # A clock that was set back must not keep it open for as long as that was.
        return datetime.now(UTC) - since if since >= timedelta() else None

    @opened_at.setter
    def opened_at(self, _: datetime) -> None:
        self._write(BreakerChange(opened_at=self._clock().isoformat()))

    def _write(self, change: BreakerChange) -> None:
        if not self.is_frozen:
            change_breaker(self._store, self.name, change)


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, dependency: str, storage: _Storage) -> None:
        self._storage = storage
        self._log = logs.get_logger(dependency=dependency)

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        """Remember the error and say that there was one."""
        self._storage.note_error(exc)
        self._log.warning("dependency_failed", failure_count=cb.fail_counter)

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        """Say that it opened, closed or tries again."""
        self._log.warning(
            "breaker_changed",
            old_state=old_state.name if old_state else None,
            state=new_state.name,
            failure_count=cb.fail_counter,
        )
