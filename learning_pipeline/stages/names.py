"""The stages of this project, by the names of their assets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.index_feed import INDEX_STAGE

if TYPE_CHECKING:
    from learning_pipeline.settings import Settings

PATTERNS_STAGE: Final = "interaction_patterns"
METRICS_STAGE: Final = "performance_metrics"
PROPOSALS_STAGE: Final = "optimization_proposals"

READING_STAGES: Final = (PATTERNS_STAGE, METRICS_STAGE, PROPOSALS_STAGE)
"""Those that read telemetry."""

UPSTREAM_OF: Final = {EXAMPLES_STAGE: PATTERNS_STAGE, INDEX_STAGE: EXAMPLES_STAGE}
"""Those that read what another has committed, in the order of a run."""

LATER_STAGES: Final = (METRICS_STAGE, PROPOSALS_STAGE, *UPSTREAM_OF)
"""Those that come after `interaction_patterns` in a run."""

ALL_STAGES: Final = (*READING_STAGES, *UPSTREAM_OF)


def stages_to_learn(settings: Settings) -> tuple[str, ...]:
    """The stages that `LEARN_STAGES` names, in the order of a run.

    Raises:
        ConfigurationError: It names one that there is not, or one without the stage
            whose rows it reads.
    """
    if settings.learn_stages == "all":
        return ALL_STAGES
    chosen = {each.strip() for each in settings.learn_stages.split("|")}
    unknown = sorted(chosen.difference(ALL_STAGES))
    if unknown or not chosen:
        message = (
            f"LEARNING_PIPELINE_LEARN_STAGES names {', '.join(map(repr, unknown))}; "
            f"there are {', '.join(ALL_STAGES)}; or say `all`"
        )
        raise ConfigurationError(message)
    for stage, upstream in UPSTREAM_OF.items():
        if stage in chosen and upstream not in chosen:
            message = (
                f"LEARNING_PIPELINE_LEARN_STAGES names {stage} without {upstream}, "
                "whose rows it reads: name both"
            )
            raise ConfigurationError(message)
    return tuple(each for each in ALL_STAGES if each in chosen)
