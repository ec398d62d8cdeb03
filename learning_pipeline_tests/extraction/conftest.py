"""Fixtures of the extraction tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from learning_pipeline_tests.extraction.extraction_records import run


@pytest.fixture
def one_row() -> Callable[[bytes], tuple[Any, ...]]:
    """Give the only row of a line."""

    def row(line: bytes) -> tuple[Any, ...]:
        (only,) = run(line).rows
        return only

    return row
