"""Circuit breakers: what opens them, who sees it, and how they close again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from learning_pipeline.errors import ConfigurationError, DependencyUnavailableError
from learning_pipeline.learning.breakers import (
    DEPENDENCIES,
    QDRANT,
    Breakers,
    unavailable,
)
from learning_pipeline.learning.retrying import guarded
from learning_pipeline.settings import Settings
from learning_pipeline.store import Store
from learning_pipeline.store.breakers import BreakerState


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        """Begin at some moment."""
        self.now = datetime(2026, 5, 28, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class Dependency:
    """A service that fails when told to."""

    def __init__(self) -> None:
        """Work."""
        self.error: BaseException | None = None
        self.call_count = 0

    def __call__(self) -> str:
        """Answer, or fail."""
        self.call_count += 1
        if self.error is not None:
            raise self.error
        return "answer"


@pytest.fixture
def clock() -> Clock:
    """A clock that is set by hand."""
    return Clock()


@pytest.fixture
def dependency() -> Dependency:
    """A service that fails when told to."""
    return Dependency()


@pytest.fixture
def make_breakers(store: Store, clock: Clock) -> Callable[..., Breakers]:
    """Breakers of one state database, as each process makes its own."""

    def make(**given: Any) -> Breakers:
        values = {"breaker_failures": 3, "breaker_reset_seconds": 60, **given}
        return Breakers(store, Settings(**values), clock=clock)

    return make


@pytest.fixture
def breakers(make_breakers: Callable[..., Breakers]) -> Breakers:
    """Those that open after three failures, for a minute."""
    return make_breakers()


def state_of(breakers: Breakers) -> BreakerState:
    """That of Qdrant."""
    return next(each for each in breakers.states() if each.name == QDRANT)


def fail(breakers: Breakers, dependency: Dependency, count: int) -> None:
    """Call it while it fails."""
    dependency.error = unavailable(QDRANT, "it answered 503")
    for _ in range(count):
        with pytest.raises(DependencyUnavailableError):
            breakers.of(QDRANT).call(dependency)


def test_all_are_closed_at_first(breakers: Breakers) -> None:
    """And listed, though nothing was ever called."""
    assert [each.name for each in breakers.states()] == sorted(DEPENDENCIES)
    assert {each.state for each in breakers.states()} == {"closed"}


def test_a_success_is_passed_on_and_writes_nothing(
    breakers: Breakers, dependency: Dependency
) -> None:
    """The usual case costs no write."""
    assert breakers.of(QDRANT).call(dependency) == "answer"
    assert state_of(breakers) == BreakerState(name=QDRANT)


def test_it_opens_after_enough_failures_in_a_row(
    breakers: Breakers, dependency: Dependency, clock: Clock
) -> None:
    """Then the dependency is not called, and the error says until when."""
    fail(breakers, dependency, 3)
    assert dependency.call_count == 3
    assert state_of(breakers).state == "open"
    clock.advance(10)
    dependency.error = None
    with pytest.raises(DependencyUnavailableError) as caught:
        breakers.of(QDRANT).call(dependency)
    assert dependency.call_count == 3
    error = caught.value
    assert error.retryable
    assert (error.dependency, error.breaker_state) == (QDRANT, "open")
    assert error.cause == "it answered 503"
    assert error.since == "2026-05-28T12:00:00+00:00"
    assert error.retry_at == "2026-05-28T12:01:00+00:00"
    for part in (error.cause, error.since, error.retry_at, QDRANT):
        assert part in str(error)


def test_a_success_in_between_begins_the_count_anew(
    breakers: Breakers, dependency: Dependency
) -> None:
    """Only failures in a row count."""
    for _ in range(3):
        fail(breakers, dependency, 2)
        dependency.error = None
        breakers.of(QDRANT).call(dependency)
    assert state_of(breakers).state == "closed"
    assert state_of(breakers).failure_count == 0
    assert state_of(breakers).last_error == "it answered 503"


def test_after_a_while_one_call_decides(
    breakers: Breakers, dependency: Dependency, clock: Clock
) -> None:
    """If it fails, it is left alone for another while; if not, all is well."""
    fail(breakers, dependency, 3)
    clock.advance(61)
    fail(breakers, dependency, 1)
    assert dependency.call_count == 4
    assert state_of(breakers).state == "open"
    assert state_of(breakers).opened_at == "2026-05-28T12:01:01+00:00"
    fail(breakers, dependency, 1)
    assert dependency.call_count == 4
    clock.advance(61)
    dependency.error = None
    assert breakers.of(QDRANT).call(dependency) == "answer"
    assert state_of(breakers).state == "closed"
    assert state_of(breakers).failure_count == 0


def test_what_one_process_found_out_all_know(
    make_breakers: Callable[..., Breakers], dependency: Dependency, clock: Clock
) -> None:
    """Their failures add up, and a breaker that was made before sees it."""
    first, second = make_breakers().of(QDRANT), make_breakers().of(QDRANT)
    assert second.call(dependency) == "answer"
    dependency.error = unavailable(QDRANT, "it answered 503")
    for breaker in (first, second, first):
        with pytest.raises(DependencyUnavailableError):
            breaker.call(dependency)
    dependency.error = None
    with pytest.raises(DependencyUnavailableError, match="left alone"):
        second.call(dependency)
    clock.advance(61)
    assert first.call(dependency) == "answer"
    assert second.call(dependency) == "answer"


def test_it_stays_open_over_a_restart(
    store: Store, breakers: Breakers, dependency: Dependency, clock: Clock
) -> None:
    """The state database remembers."""
    fail(breakers, dependency, 3)
    url = store._url
    with Store(url) as reopened:
        settings = Settings(breaker_failures=3)
        later = Breakers(reopened, settings, clock=clock)
        assert state_of(later).state == "open"
        with pytest.raises(DependencyUnavailableError):
            later.of(QDRANT).call(dependency)
    assert dependency.call_count == 3


def test_other_dependencies_are_not_affected(
    breakers: Breakers, dependency: Dependency
) -> None:
    """One breaker each."""
    fail(breakers, dependency, 3)
    dependency.error = None
    assert breakers.of("embeddings").call(dependency) == "answer"


@pytest.mark.parametrize("error", [ConfigurationError("wrong key"), KeyError("a bug")])
def test_errors_that_are_not_its_fault_do_not_open_it(
    breakers: Breakers, dependency: Dependency, error: Exception
) -> None:
    """They show that it is there, and are passed on as they are."""
    fail(breakers, dependency, 2)
    dependency.error = error
    for _ in range(5):
        with pytest.raises(type(error)) as caught:
            breakers.of(QDRANT).call(dependency)
        assert caught.value is error
    assert state_of(breakers).state == "closed"
    assert state_of(breakers).failure_count == 0


def test_an_interruption_counts_as_nothing(
    breakers: Breakers, dependency: Dependency, clock: Clock
) -> None:
    """Neither as a failure nor as a success, also while one call decides."""
    fail(breakers, dependency, 2)
    dependency.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        breakers.of(QDRANT).call(dependency)
    assert state_of(breakers).failure_count == 2
    fail(breakers, dependency, 1)
    clock.advance(61)
    dependency.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        breakers.of(QDRANT).call(dependency)
    assert state_of(breakers).state == "half-open"
    fail(breakers, dependency, 1)
    assert state_of(breakers).state == "open"


def test_a_clock_that_was_set_back_does_not_keep_it_open(
    breakers: Breakers, dependency: Dependency, clock: Clock
) -> None:
    """For a day, say: it is tried at once instead."""
    fail(breakers, dependency, 3)
    clock.advance(-86_400)
    dependency.error = None
    assert breakers.of(QDRANT).call(dependency) == "answer"


def test_nothing_is_waited_for_once_it_has_opened(
    breakers: Breakers, dependency: Dependency
) -> None:
    """A request that is tried again is given up then."""
    fail(breakers, dependency, 2)
    began = time.monotonic()
    with pytest.raises(DependencyUnavailableError):
        guarded(breakers.of(QDRANT).call, dependency, wait_seconds=30)
    assert time.monotonic() - began < 10
    assert dependency.call_count == 3


def test_what_is_remembered_of_an_error_holds_no_secret(
    breakers: Breakers, dependency: Dependency
) -> None:
    """It is redacted and cut."""
    key = "sk-" + "a1B2" * 10
    dependency.error = unavailable(QDRANT, f"refused {key} {'x' * 1_000}")
    with pytest.raises(DependencyUnavailableError):
        breakers.of(QDRANT).call(dependency)
    error = state_of(breakers).last_error or ""
    assert key not in error
    assert "[REDACTED" in error
    assert len(error) == 300


def test_changes_are_logged(
    breakers: Breakers, dependency: Dependency, clock: Clock
) -> None:
    """Each failure, and each change of state."""
    with capture_logs() as logged:
        fail(breakers, dependency, 3)
        clock.advance(61)
        dependency.error = None
        breakers.of(QDRANT).call(dependency)
    events = [(each["event"], each.get("state")) for each in logged]
    assert events == [
        ("dependency_failed", None),
        ("dependency_failed", None),
        ("dependency_failed", None),
        ("breaker_changed", "open"),
        ("breaker_changed", "half-open"),
        ("breaker_changed", "closed"),
    ]
    assert {each["dependency"] for each in logged} == {QDRANT}
