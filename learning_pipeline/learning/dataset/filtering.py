"""Which examples a dataset takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.model import Example
from learning_pipeline.store.chunks import NONE_STATED
from learning_pipeline.store.dataset_reading import DatasetSnapshot

SCORES: Final = ("value_score", "efficiency")
"""Success metrics that are a score, 0 to 1; the first that is there counts."""

WhyNot = Literal["kind", "backend", "time", "score"]


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an example; everything when nothing is stated.

    Attributes:
        kinds: It is of one of these.
        backends: It was answered by one of these; `(none)`: by none that is stated.
        since: It happened then or later, in the canonical form of timestamps. Those
            without a timestamp are left out, here and below.
        until: It happened before then.
        min_score: Its `value_score`, else its `efficiency` (1 / iterations), is at
            least this. Those with neither (error resolutions, inferences) are left out.
    """

    kinds: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    min_score: float | None = None

    def check(self) -> None:
        """Refuse what no example can meet.

        Raises:
            ConfigurationError: Dates or score are out of range.
        """
        since, until = self.since, self.until
        if since is not None and until is not None and since >= until:
            raise ConfigurationError("`since` must be before `until`")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ConfigurationError(f"a score is 0 to 1, not {self.min_score}")

    def check_names(self, snapshot: DatasetSnapshot) -> None:
        """Refuse kinds and backends of which there is no example.

        Raises:
            ConfigurationError: It lists those that there are.
        """
        if not self.kinds and not self.backends:
            return
        counts = snapshot.counts
        if counts.example_count == 0:
            return
        _require("kind", self.kinds, counts.by_kind)
        there = [NONE_STATED if each is None else each for each in counts.by_backend]
        _require("backend", self.backends, there)

    def why_not(self, example: Example) -> WhyNot | None:
        """What keeps an example out; None when nothing does."""
        if self.kinds and example.kind not in self.kinds:
            return "kind"
        backend = NONE_STATED if example.backend is None else example.backend
        if self.backends and backend not in self.backends:
            return "backend"
        if not self._is_in_time(example.event_timestamp):
            return "time"
        if self.min_score is not None:
            score = score_of(example)
            if score is None or score < self.min_score:
                return "score"
        return None

    def _is_in_time(self, timestamp: str | None) -> bool:
        if self.since is None and self.until is None:
            return True
        # The canonical form has one width, so its order as text is that of time.
        return (
            timestamp is not None
            and (self.since is None or timestamp >= self.since)
            and (self.until is None or timestamp < self.until)
        )


def score_of(example: Example) -> float | None:
    """How well it went, 0 to 1; None when nothing tells."""
    try:
        metrics = msgspec.json.decode(example.success_metrics)
    except msgspec.ValidationError:
        # It holds a number that no float can: such a thing is no score.
        return None
    for name in SCORES:
        value = metrics.get(name)
        if isinstance(value, int | float):
            return float(value)
    return None


def _require(what: str, asked: Iterable[str], there: Iterable[str]) -> None:
    known = sorted(there)
    unknown = [each for each in asked if each not in known]
    if unknown:
        names = ", ".join(map(repr, unknown))
        shown = ", ".join(known)
        raise ConfigurationError(
            f"no example has the {what} {names}; there is: {shown}"
        )
