"""Examples that say nearly the same."""

from __future__ import annotations

import random

import pytest

from learning_pipeline.learning.dataset import DatasetOptions
from learning_pipeline.learning.dataset.near_duplicates import (
    near_duplicates,
    shingles,
)
from learning_pipeline.model import Example
from learning_pipeline.store import Store
from learning_pipeline_tests.learning.dataset.made import (
    example,
    exported,
    keep,
    prompts,
)

WORDS = [f"word{number}" for number in range(500)]


def text(seed: int, *, changed: int = 0) -> str:
    """200 words, of which the last so many are others."""
    chosen = random.Random(seed).choices(WORDS, k=200)
    return " ".join([*chosen[: 200 - changed], *WORDS[:changed]])


def by_content(examples: list[Example]) -> list[Example]:
    """As a store gives them."""
    return sorted(examples, key=lambda each: each.content_hash)


def test_one_of_those_that_are_alike_stays() -> None:
    """That of the least content hash; what differs stays."""
    alike = [example(text(1, changed=changed)) for changed in range(4)]
    others = [example(text(seed)) for seed in range(2, 30)]
    left_out = near_duplicates(by_content(alike + others), 0.8)
    assert left_out == {each.content_hash for each in by_content(alike)[1:]}


def test_the_threshold_decides() -> None:
    """About 0.67 alike: 40 of 200 words are others."""
    pair = by_content([example(text(1)), example(text(1, changed=40))])
    assert len(near_duplicates(pair, 0.5)) == 1
    assert near_duplicates(pair, 0.9) == set()


def test_those_that_are_not_quite_alike_stay() -> None:
    """Also where they are alike enough to be compared: 0.7 is not 0.8."""
    pairs = [
        by_content([example(text(seed)), example(text(seed, changed=35))])
        for seed in range(30)
    ]
    left_out_count = sum(len(near_duplicates(pair, 0.8)) for pair in pairs)
    assert left_out_count <= 2


def test_the_same_set_gives_the_same_answer() -> None:
    """Whatever was asked before."""
    examples = by_content([example(text(n % 50, changed=n % 7)) for n in range(200)])
    assert near_duplicates(examples, 0.8) == near_duplicates(examples, 0.8)


@pytest.mark.parametrize(
    "written",
    ["", "...", "日本語のテキストです", "ab", "👍"],
)
def test_any_text_can_be_compared(written: str) -> None:
    """Few words, no words, words without spaces between them."""
    pair = [
        example(written, response="", content_hash=bytes([number]) * 32)
        for number in (1, 2)
    ]
    assert all(shingles(each) for each in pair)
    assert near_duplicates(pair, 0.9) == {bytes([2]) * 32}


def test_scripts_without_spaces_are_compared_by_letters() -> None:
    """Else a sentence would be one word, and all that differ at all differ."""
    assert len(shingles(example("日本語のテキストです", response=""))) > 5


def test_nothing_is_alike_to_nothing() -> None:
    """An empty set and one of one."""
    assert near_duplicates([], 0.8) == set()
    assert near_duplicates([example()], 1) == set()


def test_an_export_leaves_them_out_when_asked_to(store: Store) -> None:
    """In the order of the file; counted; of those only that the filters choose."""
    made = [example(f"{text(1)} {number}", offset=number) for number in range(3)]
    made += [example("something else entirely")]
    keep(store, made)
    content, manifest = exported(store, DatasetOptions(similarity=0.8))
    stays = by_content(made[:3])[0].prompt
    assert prompts(content["all"]) == [stays, "something else entirely"]
    assert manifest.left_out == {"near_duplicate": 2}
    assert exported(store)[1].example_count == 4
