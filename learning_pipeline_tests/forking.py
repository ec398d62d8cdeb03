"""Starting other processes quickly: what takes long to import is imported once."""

from __future__ import annotations

import multiprocessing
from typing import Final

FORK_SERVER: Final = multiprocessing.get_context("forkserver")

# Here and nowhere else: the server is one for all tests, and the last word counts.
FORK_SERVER.set_forkserver_preload(
    [
        "learning_pipeline.cli.runs",
        "learning_pipeline.cli",
        "learning_pipeline_tests.learning.index.child",
        "learning_pipeline_tests.stages.rotated",
        "learning_pipeline_tests.store.child",
    ]
)
