"""Users' own extractors: found, checked, and held to their contract."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from learning_pipeline.errors import ExtractorRegistrationError
from learning_pipeline.extraction import (
    PatternDraft,
    PatternExtractor,
    load_extractors,
    registry,
)
from learning_pipeline_tests.extraction.extraction_records import run

DRAFT = PatternDraft(" What is a prompt of good length? ", "An answer of some length")
LINE = b'{"event":"mine","timestamp":0,"text":"a"}'


class Mine:
    """Takes events of kind `mine`, as its function says."""

    kinds = frozenset({"mine"})

    def __init__(
        self, extract: Callable[[Mapping[str, Any]], Any] | None = None
    ) -> None:
        """Take a function, or one that always gives the same draft."""
        self._extract = extract or (lambda _: DRAFT)

    def extract(self, event: Mapping[str, Any], /) -> Any:
        """Call the function."""
        return self._extract(event)


def test_drafts_get_the_rules_of_every_pattern() -> None:
    """Stripped, redacted, judged, hashed, dated; ordinals in order."""
    drafts = [DRAFT, PatternDraft("bob@example.com", "r", 2, "b", [1], {"m": 1})]
    output = run(LINE, extractor=PatternExtractor([Mine(lambda _: drafts)]))
    first, second = output.rows
    assert first[:4] == (0, 0, "mine", "What is a prompt of good length?")
    assert first[9:11] == ("1970-01-01T00:00:00.000000Z", True)
    assert second[1:9] == (
        1,
        "mine",
        "[REDACTED:email]",
        "r",
        2,
        "b",
        "[1]",
        '{"m":1}',
    )
    assert output.counters.redactions_by_kind == {"email": 1}


def test_an_extractor_gets_the_whole_event() -> None:
    """And may take nothing of it."""
    seen: list[Any] = []
    output = run(LINE, extractor=PatternExtractor([Mine(seen.append)]))
    assert seen == [{"event": "mine", "timestamp": 0, "text": "a"}]
    assert (len(output.rows), output.counters.ignored_count) == (0, 0)


def fails(_: object) -> Any:
    """Raise, with text in the message."""
    message = "quotes hunter2"
    raise ValueError(message)


def recurses(event: object) -> Any:
    """Never come back."""
    return recurses(event)


def fails_half_way(event: object) -> Iterator[PatternDraft]:
    """Give a draft first."""
    yield DRAFT
    fails(event)


def never_ends(_: object) -> Iterator[PatternDraft]:
    """Give drafts for ever."""
    while True:
        yield DRAFT


@pytest.mark.parametrize(
    ("extract", "reason"),
    [
        (fails, "extractor_error"),
        (recurses, "extractor_error"),
        (fails_half_way, "extractor_error"),
        (never_ends, "extractor_returned_invalid"),
        (lambda _: 5, "extractor_returned_invalid"),
        (lambda _: "text", "extractor_returned_invalid"),
        (lambda _: {"prompt": "p"}, "extractor_returned_invalid"),
        (lambda _: [None], "extractor_returned_invalid"),
        (lambda _: PatternDraft(5, "r"), "extractor_returned_invalid"),  # type: ignore[arg-type]
        (lambda _: PatternDraft("\ud800", "r"), "extractor_returned_invalid"),
        (lambda _: PatternDraft("p", "r", 2**40), "extractor_returned_invalid"),
        (
            lambda _: PatternDraft("p", "r", context=object()),
            "extractor_returned_invalid",
        ),
        (
            lambda _: PatternDraft("p", "r", success_metrics={"m": float("nan")}),
            "extractor_returned_invalid",
        ),
        (lambda _: [DRAFT, PatternDraft("a\0", "r")], "nul_bytes"),
    ],
)
def test_a_bug_in_an_extractor_yields_one_dead_letter(
    extract: Callable[[Any], Any], reason: str
) -> None:
    """No rows of that record, and no text of it in the detail."""
    output = run(LINE, extractor=PatternExtractor([Mine(extract)]))
    (letter,) = output.dead_letters
    assert (letter.reason, list(output.rows)) == (reason, [])
    assert "hunter2" not in letter.detail


def test_an_interrupt_is_no_bug_of_the_extractor() -> None:
    """It ends the run."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(LINE, extractor=PatternExtractor([Mine(interrupt)]))


class TakesABuiltIn(Mine):
    """Claims what a built-in family takes."""

    kinds = frozenset({"task_completed"})


class NoKinds:
    """Has no kinds."""

    def extract(self, _: object) -> None:
        """Do nothing."""


class OneString(Mine):
    """Forgot the braces."""

    kinds = "mine"  # type: ignore[assignment]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that entry points are installed."""

    def install(*names: str) -> None:
        points = [
            EntryPoint(name, f"{__name__}:{name}", registry.ENTRY_POINT_GROUP)
            for name in names
        ]
        monkeypatch.setattr(registry, "entry_points", lambda **_: points)

    return install


def test_installed_extractors_are_loaded(installed: Callable[..., None]) -> None:
    """A class is instantiated."""
    installed("Mine")
    (extractor,) = load_extractors()
    assert isinstance(extractor, Mine)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["Missing"], "cannot be loaded"),
        (["NoKinds"], "no extractor"),
        (["OneString"], "no extractor"),
        (["Mine", "Mine"], "takes already"),
        (["TakesABuiltIn"], "learning_pipeline itself"),
    ],
)
def test_an_unusable_extractor_is_refused_with_its_remedy(
    installed: Callable[..., None], names: list[str], says: str
) -> None:
    """The message names the entry point and its distribution."""
    installed(*names)
    with pytest.raises(ExtractorRegistrationError, match=says) as caught:
        load_extractors()
    assert names[0] in str(caught.value)
    assert "distribution" in str(caught.value)


def test_the_group_is_looked_up_among_installed_distributions() -> None:
    """Nothing is installed here, so nothing is found."""
    group = registry.ENTRY_POINT_GROUP
    assert len(load_extractors()) == len(importlib.metadata.entry_points(group=group))
