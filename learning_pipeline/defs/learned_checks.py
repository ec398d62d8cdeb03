"""Asset checks of what is made of patterns: the examples and the search index."""

import dagster as dg

from learning_pipeline.defs.assets import finetuning_examples, pattern_index
from learning_pipeline.defs.checks import MAX_SHOWN
from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.report.wording import (
    breakers_said,
    counted,
    failing_said,
)
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store
from learning_pipeline.store.behind import partitions_behind
from learning_pipeline.store.example_checks import MAX_ROWS_CHECKED, count_contents
from learning_pipeline.store.index_feed import count_changes

_CONTENTS_DESCRIPTION = (
    "Of each content there is exactly one example, over all files. Where there are "
    f"more than {MAX_ROWS_CHECKED:,} rows, those of the run are looked at."
)
_INDEX_DESCRIPTION = (
    "The index has been given every example, and no change waits to be made in it."
)


@dg.asset_check(asset=finetuning_examples, description=_CONTENTS_DESCRIPTION)
def one_example_per_content(
    context: dg.AssetCheckExecutionContext,
) -> dg.AssetCheckResult:
    """Count contents without an example, and with several."""
    with Store(load_settings().resolved_store_url) as store:
        found = count_contents(store, run_id=context.run.run_id)
    problems = [
        f"{counted(count, 'content')} {what}"
        for count, what in (
            (found.missing_count, "without an example"),
            (found.repeated_count, "with several examples"),
        )
        if count
    ]
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(
            [*problems, "`learning-pipeline doctor` looks at the whole state database"]
        )
        if problems
        else _CONTENTS_DESCRIPTION,
        metadata={
            "problem_count": found.missing_count + found.repeated_count,
            "content_count": found.content_count,
        },
    )


@dg.asset_check(asset=pattern_index, description=_INDEX_DESCRIPTION)
def index_lag(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look for files and changes that wait for the index, and why they do."""
    settings = load_settings()
    with Store(settings.resolved_store_url) as store:
        behind = partitions_behind(
            store, _name(pattern_index), _name(finetuning_examples)
        )
        change_count = count_changes(store)
        states = Breakers(store, settings).states()
    problems = [
        f"{each.partition}: {each.lag_bytes} bytes behind `finetuning_examples`"
        for each in behind[:MAX_SHOWN]
    ]
    if len(behind) > MAX_SHOWN:
        problems.append(f"{len(behind) - MAX_SHOWN} more files behind")
    if change_count:
        problems.append(f"{counted(change_count, 'change')} to be made in the index")
    because = breakers_said(states) or failing_said(states)
    if problems and not because:
        because = ["no service is known to be down: another run may be under way"]
    context.log.debug("%s files behind, %s changes", len(behind), change_count)
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join([*problems, *because])
        if problems
        else _INDEX_DESCRIPTION,
        metadata={
            "problem_count": len(behind) + change_count,
            "behind_file_count": len(behind),
            "lag_bytes": sum(each.lag_bytes for each in behind),
            "waiting_change_count": change_count,
        },
    )


def _name(asset: dg.AssetsDefinition) -> str:
    return asset.key.to_user_string()


learned_checks = (one_example_per_content, index_lag)
