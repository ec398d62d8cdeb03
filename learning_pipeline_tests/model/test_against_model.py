"""Everything that happens to files, in any order, against a simple model."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from learning_pipeline_tests.model.machine import Telemetry

SWEEP_EXAMPLES = int(os.environ.get("LEARNING_PIPELINE_TEST_EXAMPLES", "5000"))

PROFILE = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    stateful_step_count=25,
    database=None,
    print_blob=False,
    # Not to explain: that traces every line, and takes minutes.
    phases=(Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
)


def test_after_any_history_the_rows_are_those_of_one_pass_over_the_bytes() -> None:
    """The bounded part of the sweep, with the same sequences every time."""
    run_state_machine_as_test(
        Telemetry, settings=settings(PROFILE, max_examples=40, derandomize=True)
    )


@pytest.mark.sweep
@pytest.mark.timeout(86_400)
def test_after_thousands_of_histories_the_rows_are_those_of_one_pass() -> None:
    """As many sequences as LEARNING_PIPELINE_TEST_EXAMPLES says, 5,000 by default."""
    run_state_machine_as_test(
        Telemetry, settings=settings(PROFILE, max_examples=SWEEP_EXAMPLES)
    )
