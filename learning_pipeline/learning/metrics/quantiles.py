"""Quantiles of very many values in bounded memory: counts in log-spaced buckets.

Bucket `i` holds the values of `(GAMMA^(i-1), GAMMA^i]`; the value that stands for all
of them is off by at most `RELATIVE_ERROR` of any (DDSketch: Masson, Rim, Lee,
PVLDB 12, 2019). Counts add up in any order, so that a quantile does not depend on how
the values came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RELATIVE_ERROR: Final = 0.01
GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)

LEAST: Final = 1e-3
MOST: Final = 1e12
"""Values beyond these count as these."""

_LOG_GAMMA: Final = math.log(GAMMA)
_FIRST_BUCKET: Final = math.floor(math.log(LEAST) / _LOG_GAMMA)
_BUCKETS: Final = 2_048
_MERGED_AT: Final = 1_000_000

Integers = NDArray[np.int64]


class Histogram:
    """Counts values in buckets, apart for each group."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._keys: list[Integers] = []
        self._counts: list[Integers] = []
        self._pending_count = 0

    def add(self, groups: Integers, values: NDArray[np.float64]) -> None:
        """Count values, each for the group of the same place; groups from 0."""
        bounded = np.clip(values, LEAST, MOST)
        buckets = np.ceil(np.log(bounded) / _LOG_GAMMA).astype(np.int64)
        keys, counts = np.unique(
            groups * _BUCKETS + (buckets - _FIRST_BUCKET), return_counts=True
        )
        self._keys.append(keys)
        self._counts.append(counts.astype(np.int64))
        self._pending_count += len(keys)
        if self._pending_count > _MERGED_AT:
            self._merge()

    def quantiles(self, shares: Sequence[float]) -> dict[int, list[float]]:
        """Return the values at or below which these shares of a group's are.

        Args:
            shares: Each above 0, up to 1; by nearest rank.
        """
        if not self._keys:
            return {}
        keys, counts = self._merge()
        groups = keys // _BUCKETS
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        found = {}
        for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
            reached = np.cumsum(counts[start:end])
            ranks = [math.ceil(share * int(reached[-1])) for share in shares]
            places = start + np.searchsorted(reached, ranks)
            found[int(groups[start])] = [_value(keys[place]) for place in places]
        return found

    def _merge(self) -> tuple[Integers, Integers]:
        keys, places = np.unique(np.concatenate(self._keys), return_inverse=True)
        counts = np.zeros(len(keys), dtype=np.int64)
        np.add.at(counts, places, np.concatenate(self._counts))
        self._keys, self._counts, self._pending_count = [keys], [counts], 0
        return keys, counts


def _value(key: Any) -> float:
    bucket = int(key) % _BUCKETS + _FIRST_BUCKET
    return float(2 * GAMMA**bucket / (GAMMA + 1))
