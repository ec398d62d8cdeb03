"""The stages of this project, by the names of their assets."""

from __future__ import annotations

from typing import Final

from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.index_feed import INDEX_STAGE

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
