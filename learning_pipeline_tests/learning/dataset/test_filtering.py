"""Which examples a dataset takes."""

from __future__ import annotations

import pytest

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.dataset import DatasetOptions, Filters
from learning_pipeline.learning.dataset.filtering import score_of
from learning_pipeline.store import Store
from learning_pipeline_tests.learning.dataset.made import (
    example,
    exported,
    keep,
    prompts,
)

MAY = "2026-05-{:02}T00:00:00.000000Z"
MADE = [
    example("first", kind="agent_step_complete", backend="small"),
    example("second", backend="large", event_timestamp=MAY.format(1)),
    example("third", event_timestamp=MAY.format(2), success_metrics='{"efficiency":1}'),
    example(
        "fourth",
        event_timestamp=MAY.format(3),
        success_metrics='{"efficiency":1.0,"value_score":0.7}',
    ),
]


@pytest.fixture
def learned(sqlite_url: str) -> Store:
    """A store of the four."""
    store = Store(sqlite_url)
    keep(store, MADE)
    return store


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "first second third fourth"),
        (Filters(kinds=("agent_step_complete",)), "first"),
        (Filters(kinds=("agent_step_complete", "task_completed")), ...),
        (Filters(backends=("small", "large")), "first second"),
        (Filters(backends=("(none)",)), "third fourth"),
        (Filters(since=MAY.format(2)), "third fourth"),
        (Filters(until=MAY.format(2)), "second"),
        (Filters(since=MAY.format(2), until=MAY.format(3)), "third"),
        (Filters(min_score=0.0), "third fourth"),
        (Filters(min_score=0.7), "third fourth"),
        (Filters(min_score=0.71), "third"),
        (Filters(kinds=("task_completed",), backends=("large",)), "second"),
        (Filters(min_score=0.5, until=MAY.format(3)), "third"),
    ],
    ids=repr,
)
def test_filters_choose(learned: Store, filters: Filters, expected: object) -> None:
    """All of them must hold; the ends of a range are what they say."""
    content, manifest = exported(learned, DatasetOptions(filters=filters))
    if expected is not ...:
        assert " ".join(prompts(content["all"])) == expected
    assert sum(manifest.left_out.values()) == 4 - manifest.example_count
    assert manifest.known_example_count == 4


def test_what_is_left_out_is_counted_by_why(learned: Store) -> None:
    """By the first filter that an example does not meet."""
    filters = Filters(kinds=("task_completed",), since=MAY.format(2), min_score=0.8)
    _, manifest = exported(learned, DatasetOptions(filters=filters))
    assert manifest.left_out == {"kind": 1, "score": 1, "time": 1}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (Filters(kinds=("task_completd",)), "agent_step_complete, task_completed"),
        (Filters(backends=("huge",)), r"\(none\), large, small"),
        (Filters(since=MAY.format(2), until=MAY.format(2)), "before"),
        (Filters(min_score=1.5), "1.5"),
        (Filters(min_score=float("nan")), "nan"),
    ],
    ids=repr,
)
def test_what_nothing_can_meet_is_refused(
    learned: Store, filters: Filters, message: str
) -> None:
    """Saying what there is."""
    with pytest.raises(ConfigurationError, match=message):
        exported(learned, DatasetOptions(filters=filters))


def test_before_anything_is_learned_no_kind_is_refused(sqlite_url: str) -> None:
    """What runs on a schedule may be ahead of the telemetry."""
    with Store(sqlite_url) as store:
        options = DatasetOptions(filters=Filters(kinds=("task_completed",)))
        assert exported(store, options)[0] == {"all": b""}


@pytest.mark.parametrize(
    ("metrics", "score"),
    [
        ("{}", None),
        ('{"latency_ms":5}', None),
        ('{"efficiency":0.5}', 0.5),
        ('{"efficiency":0.5,"value_score":0.9}', 0.9),
        ('{"value_score":1}', 1.0),
        ('{"value_score":"1"}', None),
        ('{"resolution_time":1e999}', None),
    ],
)
def test_the_score_is_what_the_event_says_else_its_efficiency(
    metrics: str, score: float | None
) -> None:
    """None where neither is known, or is no number."""
    assert score_of(example(success_metrics=metrics)) == score
