"""What `doctor` looks at, one check after the other; nothing is written."""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from learning_pipeline.errors import DatasetManifestError, LearningPipelineError
from learning_pipeline.extraction.registry import load_extractors
from learning_pipeline.settings import Settings
from learning_pipeline.stages.audit import file_position, range_problems
from learning_pipeline.store import ReadOnlyStore, free_space_guard
from learning_pipeline.store.backup import BUILDING_PREFIX
from learning_pipeline.store.opening import examine
from learning_pipeline.store.read_only import sqlite_path
from learning_pipeline.telemetry import Listings, discover, telemetry_matcher

MAX_SHOWN = 5
_REBUILD = "see `learning-pipeline rebuild --dry-run`"


class Level(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        name: What, in snake_case.
        level: How it is.
        detail: What was found.
        remedy: What to do; empty when all is well.
    """

    name: str
    level: Level
    detail: str
    remedy: str = ""


def all_checks(settings: Settings) -> Iterator[Check]:
    """Everything; the settings themselves are right when they could be loaded."""
    yield Check("settings", Level.OK, "all have values that are allowed")
    yield _telemetry(settings)
    yield _free_space(settings)
    yield from database_checks(settings)
    yield _leftovers(settings)
    yield _dataset(settings)
    yield _dagster_home(settings)
    yield _extractors()


def database_checks(settings: Settings) -> Iterator[Check]:
    """The state database alone."""
    url = settings.resolved_store_url
    path = sqlite_path(url)
    if path is not None:
        log = path.with_name(path.name + "-wal")
        if not path.exists() and not log.exists():
            detail = f"{path} is not there yet; the first run creates it"
            yield Check("state_database", Level.OK, detail)
            return
        found = _refusal("state_database", lambda: examine(path, whole=True))
        if found is not None:
            yield found
            return
    with ReadOnlyStore(url) as store:
        detail = "readable, of a known version"
        if path is not None:
            detail = f"{path} is whole: every page, key and index"
        found = _refusal("state_database", store.checkpoints)
        yield found or Check("state_database", Level.OK, detail)
        if found is None:
            yield from _contents(settings, store)


def _contents(settings: Settings, store: ReadOnlyStore) -> Iterator[Check]:
    for name, look, well in (
        (
            "committed_ranges",
            lambda: range_problems(store.iterate_history(), store.checkpoints()),
            "contiguous, none overlaps",
        ),
        (
            "stored_rows",
            store.contradictions,
            "as many as were counted, none behind a checkpoint",
        ),
        (
            "stored_texts",
            lambda: _changed_texts(store),
            "prompts and responses are those that were stored",
        ),
    ):
        yield _listed(name, look, well, _REBUILD, Level.PROBLEM)
    yield _listed(
        "checkpoints_in_files",
        lambda: _apart_from_files(settings, store),
        "each in its file, on the bytes that it read",
        "a file that is gone or was rewritten cannot be rewound; what was learned of "
        "it stays",
        Level.WARNING,
    )


def _listed(
    name: str, look: Callable[[], list[str]], well: str, remedy: str, level: Level
) -> Check:
    try:
        found = look()
    except LearningPipelineError as error:
        return Check(name, Level.PROBLEM, str(error), _REBUILD)
    if not found:
        return Check(name, Level.OK, well)
    more = f"; and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
    return Check(name, level, "; ".join(found[:MAX_SHOWN]) + more, remedy)


def _refusal(name: str, look: Callable[[], object]) -> Check | None:
    try:
        look()
    except LearningPipelineError as error:
        return Check(name, Level.PROBLEM, str(error), _REBUILD)
    return None


def _changed_texts(store: ReadOnlyStore) -> list[str]:
    changed = []
    for row in store.iterate_patterns():
        text = f"{row['prompt'].strip()}\n{row['response'].strip()}".lower()
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        if digest != row["content_hash"]:
            changed.append(
                f"the pattern of {row['partition']} at {row['offset']} of generation "
                f"{row['generation']} has another text than was stored"
            )
    return changed


def _apart_from_files(settings: Settings, store: ReadOnlyStore) -> list[str]:
    listings = Listings(settings.telemetry_dir, telemetry_matcher(settings.patterns))
    positions = (
        file_position(
            settings.telemetry_dir, listings, store.known_partitions, checkpoint
        )
        for checkpoint in store.checkpoints(with_kinds=False)
    )
    return [
        f"{each.partition} at {each.offset}: {each.problem}"
        for each in positions
        if each.problem is not None
    ]


def _telemetry(settings: Settings) -> Check:
    try:
        found = discover(settings.telemetry_dir, settings.patterns)
    except LearningPipelineError as error:
        return Check(
            "telemetry",
            Level.PROBLEM,
            str(error),
            "set LEARNING_PIPELINE_TELEMETRY_DIR to where the telemetry is",
        )
    if found.problems:
        shown = [f"{each.path}: {each.detail}" for each in found.problems]
        more = f"; and {len(shown) - MAX_SHOWN} more" if len(shown) > MAX_SHOWN else ""
        return Check(
            "telemetry",
            Level.WARNING,
            f"left out: {'; '.join(shown[:MAX_SHOWN])}{more}",
            "rename, move or permit what is to be read",
        )
    if not found.files:
        return Check(
            "telemetry",
            Level.WARNING,
            f"no file below {settings.telemetry_dir} matches "
            f"{settings.telemetry_patterns}",
            "see LEARNING_PIPELINE_TELEMETRY_DIR and _TELEMETRY_PATTERNS",
        )
    return Check("telemetry", Level.OK, f"{len(found.files)} files")


def _free_space(settings: Settings) -> Check:
    try:
        free_space_guard(settings)()
    except LearningPipelineError as error:
        return Check(
            "free_space",
            Level.PROBLEM,
            str(error),
            "free some space, or set LEARNING_PIPELINE_MIN_FREE_BYTES lower",
        )
    return Check("free_space", Level.OK, "more than MIN_FREE_BYTES")


def _leftovers(settings: Settings) -> Check:
    path = sqlite_path(settings.resolved_store_url)
    folder = path.parent if path is not None else settings.state_dir
    found = sorted(folder.glob(f"{BUILDING_PREFIX}*"))
    found += sorted(folder.glob(f"backups/{BUILDING_PREFIX}*"))
    if not found:
        return Check("leftovers", Level.OK, "none")
    return Check(
        "leftovers",
        Level.WARNING,
        f"half made by a process that was killed: {', '.join(map(str, found))}",
        "delete them while nothing runs",
    )


def _dataset(settings: Settings) -> Check:
    # It takes a while to import.
    from learning_pipeline.learning.dataset import (  # noqa: PLC0415
        differing_files,
        kept_manifest_path,
    )

    manifest = kept_manifest_path(settings.state_dir)
    remedy = "materialise finetuning_dataset again"
    if not manifest.exists():
        return Check("dataset", Level.OK, f"{manifest} is not there yet")
    try:
        found = differing_files(manifest)
    except DatasetManifestError as error:
        return Check("dataset", Level.PROBLEM, str(error), remedy)
    if not found:
        return Check("dataset", Level.OK, "its files are those of its manifest")
    detail = f"not as {manifest} says: {', '.join(found)}"
    return Check("dataset", Level.PROBLEM, detail, remedy)


def _dagster_home(settings: Settings) -> Check:
    chosen = os.environ.get("DAGSTER_HOME")
    home = Path(chosen or settings.state_dir / "dagster_home").expanduser().absolute()
    remedy = "unset DAGSTER_HOME to use one in the state directory"
    if not home.is_dir():
        if chosen:
            detail = f"DAGSTER_HOME is {home}, which is no directory"
            return Check("dagster_home", Level.PROBLEM, detail, remedy)
        detail = f"{home} is not there yet; the first run makes it"
        return Check("dagster_home", Level.OK, detail)
    if not (home / "dagster.yaml").is_file():
        detail = f"{home} has no dagster.yaml: killed runs are not retried"
        return Check("dagster_home", Level.WARNING, detail, remedy)
    if not os.access(home, os.W_OK):
        detail = f"{home} cannot be written"
        return Check("dagster_home", Level.PROBLEM, detail, "make it writable")
    return Check("dagster_home", Level.OK, str(home))


def _extractors() -> Check:
    try:
        count = len(load_extractors())
    except LearningPipelineError as error:
        remedy = "mend or uninstall its distribution"
        return Check("extractors", Level.PROBLEM, str(error), remedy)
    return Check("extractors", Level.OK, f"{count} of your own")
