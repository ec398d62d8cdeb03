"""Asset checks of `interaction_patterns`: what must hold after every run of a file."""

from collections.abc import Iterator, Sequence

import dagster as dg

from learning_pipeline.defs.assets import interaction_patterns
from learning_pipeline.defs.partitions import keys_of_run, known_keys
from learning_pipeline.model import Checkpoint
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages.audit import FilePosition, file_position, range_problems
from learning_pipeline.store import HistoryStep, Store
from learning_pipeline.telemetry import Listings, telemetry_matcher

MAX_SHOWN = 10
MAX_FILES_CHECKED = 2000

_DESCRIPTIONS = {
    "lag": "The unread rest of each file is at most MAX_LAG_BYTES.",
    "dead_letter_share": "At most MAX_DEAD_LETTER_SHARE of the records were rejected.",
    "offset_inside_file": "Each checkpoint lies in its file, on the bytes it read.",
    "lost_bytes": "No file went away before it was read to its end.",
    "committed_ranges_contiguous": "Committed ranges neither overlap nor leave a gap.",
}


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            name,
            asset=interaction_patterns.key,
            description=description,
        )
        for name, description in _DESCRIPTIONS.items()
    ],
)
def checkpoint_checks(
    context: dg.AssetCheckExecutionContext,
) -> Iterator[dg.AssetCheckResult]:
    """Look at all checkpoints and their files; in a large fleet at the run's.

    The result is one for the asset and names the files that fail: a result per
    partition would cost as much as three materialisations of each.
    """
    settings = load_settings()
    known = known_keys(context.instance)
    keys = None
    if len(known) > MAX_FILES_CHECKED:
        keys = keys_of_run(context.run, known)
    stage = interaction_patterns.key.to_user_string()
    with Store(settings.resolved_store_url) as store:
        checkpoints = store.checkpoints(stage=stage, keys=keys, with_kinds=False)
        steps = store.history(stage=stage, keys=keys)
        positions = _positions(settings, store, checkpoints)
    yield from evaluate(settings, checkpoints, positions, steps)


def _positions(
    settings: Settings, store: Store, checkpoints: Sequence[Checkpoint]
) -> list[FilePosition]:
    listings = Listings(settings.telemetry_dir, telemetry_matcher(settings.patterns))
    return [
        file_position(
            settings.telemetry_dir, listings, store.known_partitions, checkpoint
        )
        for checkpoint in checkpoints
    ]


def evaluate(
    settings: Settings,
    checkpoints: Sequence[Checkpoint],
    positions: Sequence[FilePosition],
    steps: Sequence[HistoryStep],
) -> Iterator[dg.AssetCheckResult]:
    """The results, over the given checkpoints, where they stand, and their history."""
    yield _lag(settings, positions)
    yield _dead_letter_share(settings, checkpoints)
    yield _result(
        "offset_inside_file",
        [
            f"{position.partition}: {position.problem}"
            for position in positions
            if position.problem is not None and not position.is_settled
        ],
        {"file_count": len(positions)},
    )
    yield _result(
        "lost_bytes",
        [
            f"{checkpoint.partition}: at least {checkpoint.counters.lost_bytes} bytes "
            "were never read; their file is gone"
            for checkpoint in checkpoints
            if checkpoint.counters.lost_bytes > 0
        ],
        {
            "lost_bytes_at_least": sum(
                checkpoint.counters.lost_bytes for checkpoint in checkpoints
            )
        },
    )
    yield _result(
        "committed_ranges_contiguous",
        range_problems(steps, checkpoints),
        {"commit_count": len(steps)},
    )


def _lag(settings: Settings, positions: Sequence[FilePosition]) -> dg.AssetCheckResult:
    return _result(
        "lag",
        [
            f"{position.partition}: {position.lag_bytes} bytes behind"
            for position in positions
            if position.lag_bytes > settings.max_lag_bytes
        ],
        {
            "lag_bytes": sum(position.lag_bytes for position in positions),
            "max_lag_bytes": settings.max_lag_bytes,
        },
    )


def _dead_letter_share(
    settings: Settings, checkpoints: Sequence[Checkpoint]
) -> dg.AssetCheckResult:
    limit = settings.max_dead_letter_share
    problems = []
    for checkpoint in checkpoints:
        counters = checkpoint.counters
        if counters.dead_letter_count > limit * counters.record_count:
            problems.append(
                f"{checkpoint.partition}: {counters.dead_letter_count} of "
                f"{counters.record_count} records are dead letters"
            )
    return _result(
        "dead_letter_share",
        problems,
        {
            "dead_letter_count": sum(
                checkpoint.counters.dead_letter_count for checkpoint in checkpoints
            ),
            "record_count": sum(
                checkpoint.counters.record_count for checkpoint in checkpoints
            ),
            "max_dead_letter_share": limit,
        },
    )


def _result(
    name: str, problems: Sequence[str], metadata: dict[str, int | float]
) -> dg.AssetCheckResult:
    shown = list(problems[:MAX_SHOWN])
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=interaction_patterns.key,
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            "; ".join(shown) + (" …" if len(problems) > MAX_SHOWN else "")
            if problems
            else _DESCRIPTIONS[name]
        ),
        metadata={"problem_count": len(problems), **metadata},
    )
