"""Users' own extractors: what one is, and how they are found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, runtime_checkable

from learning_pipeline.errors import ExtractorRegistrationError
from learning_pipeline.extraction.drafts import PatternDraft
from learning_pipeline.extraction.families import FAMILIES

ENTRY_POINT_GROUP = "learning_pipeline.extractors"


@runtime_checkable
class Extractor(Protocol):
    """Turns events of some kinds into pattern drafts.

    It must be a pure function of the event: a replay has to give the same rows.

    Attributes:
        kinds: The kinds of event that it takes, and nobody else does.
    """

    @property
    def kinds(self) -> Iterable[str]:
        """The kinds of event that it takes."""

    def extract(
        self, event: Mapping[str, Any], /
    ) -> PatternDraft | Iterable[PatternDraft] | None:
        """Return what the event teaches; None or nothing when it is not taken."""


def are_extractors_installed() -> bool:
    """Whether any package brings extractors; imports none of them."""
    return bool(entry_points(group=ENTRY_POINT_GROUP))


def load_extractors() -> tuple[Extractor, ...]:
    """Return the extractors of all installed packages, ordered by name.

    Raises:
        ExtractorRegistrationError: One cannot be used, or two claim the same kind.
    """
    found = entry_points(group=ENTRY_POINT_GROUP)
    points = sorted(found, key=lambda point: (point.name, point.value))
    extractors = tuple(_load(point) for point in points)
    check_kinds(extractors, [_describe(point) for point in points])
    return extractors


def check_kinds(
    extractors: Sequence[Extractor], names: Sequence[str] | None = None
) -> dict[str, Extractor]:
    """Return the extractor of each kind.

    Args:
        extractors: The extractors.
        names: What to call each in a message.

    Raises:
        ExtractorRegistrationError: One has no usable kinds or no `extract`, or two
            claim the same kind.
    """
    owners = {
        kind: "learning_pipeline itself" for family in FAMILIES for kind in family.kinds
    }
    by_kind: dict[str, Extractor] = {}
    for position, extractor in enumerate(extractors):
        name = names[position] if names else f"extractor {type_name(extractor)}"
        for kind in sorted(_kinds_of(extractor, name)):
            if kind in owners:
                raise ExtractorRegistrationError(
                    f"{name} takes the event kind {kind!r}, which {owners[kind]} takes "
                    "already; uninstall one of them or change its `kinds`",
                    name=name,
                )
            owners[kind] = name
            by_kind[kind] = extractor
    return by_kind


def type_name(extractor: object) -> str:
    """Return what to call an extractor in messages."""
    cls = extractor if isinstance(extractor, type) else type(extractor)
    return f"{cls.__module__}.{cls.__qualname__}"


def _kinds_of(extractor: Extractor, name: str) -> frozenset[str]:
    try:
        kinds = extractor.kinds
        usable = (
            not isinstance(kinds, str | bytes)
            and (kinds := frozenset(kinds))
            and all(isinstance(kind, str) and kind for kind in kinds)
            and callable(extractor.extract)
        )
    except Exception as error:
        raise ExtractorRegistrationError(
            f"{name} is no extractor ({type(error).__name__}: {error}); {_SHAPE}",
            name=name,
        ) from error
    if not usable:
        raise ExtractorRegistrationError(f"{name} is no extractor; {_SHAPE}", name=name)
    return frozenset(kinds)


_SHAPE = (
    "give it `kinds`, a set of event kinds, and `extract(event)`, or uninstall its "
    "distribution"
)


def _load(point: EntryPoint) -> Extractor:
    name = _describe(point)
    try:
        loaded = point.load()
        extractor: Extractor = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        raise ExtractorRegistrationError(
            f"{name} cannot be loaded ({type(error).__name__}: {error}); fix its "
            f"import of {point.value!r}, or uninstall its distribution",
            name=point.name,
        ) from error
    return extractor


def _describe(point: EntryPoint) -> str:
    distribution = point.dist.name if point.dist else "an unknown distribution"
    return f"entry point {point.name!r} of distribution {distribution!r}"
