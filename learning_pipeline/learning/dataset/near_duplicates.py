"""Examples that say nearly the same, found by MinHash."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from datasketch import MinHash, MinHashLSH

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from learning_pipeline.model import Example

PERMUTATION_COUNT: Final = 128
"""The similarity is estimated within 0.035 (one standard deviation, at 0.8)."""

SHINGLE_WORDS: Final = 3
MAX_COMPARED: Final = 500
"""So many kept ones that look alike are compared with at most; bounds the time."""

MISS_WEIGHT: Final = 0.9
"""Candidates are compared again, so it is cheap to have many of them. At this weight
a pair exactly at the threshold is one with probability 0.8 to 0.9, above it soon 1."""

# Words; but scripts that put no spaces between them are taken character by character.
_SPACELESS: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD: Final = re.compile(rf"[^\W{_SPACELESS}]+|\w")


def near_duplicates(examples: Iterable[Example], similarity: float) -> frozenset[bytes]:
    """The content hashes of the examples to be left out.

    Args:
        examples: By content hash.
        similarity: Two are near duplicates at this Jaccard index of their sets of
            three words in a row, estimated; 0.5 to 1.

    Guarantees: a function of the set of examples: of those that are alike, the one
    with the least content hash stays, and each that is left out is alike to one that
    stays. It takes about 1 kB an example (measured). Of texts of which more than
    `MAX_COMPARED` look alike without being so, some near duplicates may stay.
    """
    hashes, signatures = _signatures(examples)
    groups = _groups(signatures, similarity)
    kept: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    left_out: set[bytes] = set()
    for index in np.flatnonzero((groups >= 0).any(axis=1)).tolist():
        own = [
            (band, group)
            for band, group in enumerate(groups[index].tolist())
            if group >= 0
        ]
        among = sorted({each for at in own for each in kept[at]})
        if among and _is_like_one(signatures, index, among, similarity):
            left_out.add(hashes[index])
            continue
        for at in own:
            if len(kept[at]) < MAX_COMPARED:
                kept[at].append(index)
    return frozenset(left_out)


def shingles(example: Example) -> list[bytes]:
    """The sets of words in a row that an example is compared by."""
    text = f"{example.prompt}\n{example.response}".lower()
    words = _WORD.findall(text)
    if len(words) < SHINGLE_WORDS:
        return [text.encode()]
    runs = zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)
    return [" ".join(run).encode() for run in runs]


def _signatures(
    examples: Iterable[Example],
) -> tuple[list[bytes], npt.NDArray[np.uint32]]:
    # A hash that is the same in every process, unlike Python's own.
    empty = MinHash(num_perm=PERMUTATION_COUNT, hashfunc=zlib.crc32)
    hashes: list[bytes] = []
    flat = bytearray()
    for example in examples:
        sketch = empty.copy()
        sketch.update_batch(shingles(example))
        hashes.append(example.content_hash)
        flat += sketch.hashvalues.astype(np.uint32).tobytes()
    signatures = np.frombuffer(flat, dtype=np.uint32)
    return hashes, signatures.reshape(len(hashes), PERMUTATION_COUNT)


def _groups(
    signatures: npt.NDArray[np.uint32], similarity: float
) -> npt.NDArray[np.int32]:
    """For each example and band of its signature: the group that agrees in the band.

    -1 where no other does. The library says how many bands there are for a threshold;
    its index of them would take five times the memory.
    """
    lsh = MinHashLSH(
        threshold=min(similarity, 0.99),
        num_perm=PERMUTATION_COUNT,
        weights=(1 - MISS_WEIGHT, MISS_WEIGHT),
    )
    groups = np.full((len(signatures), lsh.b), -1, dtype=np.int32)
    # Any odd numbers: what merely collides is told apart when it is compared.
    factors = np.array(
        [pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, lsh.r + 1)],
        dtype=np.uint64,
    )
    for band in range(lsh.b):
        part = signatures[:, band * lsh.r : (band + 1) * lsh.r].astype(np.uint64)
        _, group, count = np.unique(
            part @ factors, return_inverse=True, return_counts=True
        )
        groups[:, band] = np.where(count[group] > 1, group, -1)
    return groups


def _is_like_one(
    signatures: npt.NDArray[np.uint32], index: int, among: list[int], similarity: float
) -> bool:
    agree: Any = (signatures[among] == signatures[index]).mean(axis=1)
    return bool(agree.max() >= similarity)
