"""Train or validation: stable whatever else there is."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from learning_pipeline.learning.dataset.splitting import Splitter

hashes = st.binary(min_size=32, max_size=32)
shares = st.floats(0, 1, exclude_max=True)
seeds = st.integers(0, 2**63 - 1)

MANY = [hashlib.sha256(b"%d" % number).digest() for number in range(20_000)]


@hypothesis_settings(max_examples=50)
@given(content_hash=hashes, share=shares, larger=shares, seed=seeds)
def test_a_larger_share_takes_none_away_from_validation(
    content_hash: bytes, share: float, larger: float, seed: int
) -> None:
    """Whoever raises it does not train on what was measured by."""
    share, larger = sorted((share, larger))
    if Splitter(share, seed).split_of(content_hash) == "validation":
        assert Splitter(larger, seed).split_of(content_hash) == "validation"


@hypothesis_settings(max_examples=50)
@given(content_hash=hashes, others=st.lists(hashes), share=shares, seed=seeds)
def test_a_side_does_not_depend_on_what_came_before(
    content_hash: bytes, others: list[bytes], share: float, seed: int
) -> None:
    """Nor on the process."""
    alone = Splitter(share, seed).split_of(content_hash)
    splitter = Splitter(share, seed)
    for each in others:
        splitter.split_of(each)
    assert splitter.split_of(content_hash) == alone


def test_sides_are_those_of_every_version() -> None:
    """Pinned: another version must not deal anew what models were measured by."""
    splitter = Splitter(0.3, 0)
    sides = "".join(splitter.split_of(each)[0] for each in MANY[:24])
    assert sides == PINNED


def test_the_share_is_about_what_was_asked_for() -> None:
    """Within what chance allows of 20,000."""
    splitter = Splitter(0.1, 5)
    count = sum(splitter.split_of(each) == "validation" for each in MANY)
    assert 1_850 < count < 2_150


def test_another_seed_deals_anew() -> None:
    """Independently: a share of the share is in both."""
    one, other = Splitter(0.5, 1), Splitter(0.5, 2)
    agree = sum(one.split_of(each) == other.split_of(each) for each in MANY)
    assert 9_700 < agree < 10_300


def test_no_share_is_all_for_training() -> None:
    """Not one is for validation."""
    splitter = Splitter(0, 0)
    assert {splitter.split_of(each) for each in MANY} == {"train"}


PINNED = "vtvtvtvtttvtttttttttvttv"
