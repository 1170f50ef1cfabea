"""Prompts come from a versioned bank, a user's bank or a user's prompts."""

import logging
from pathlib import Path

import numpy as np
import pytest

from agm_torch.config import PROMPT_BANK
from agm_torch.prompts import PromptPair, cut_by_clip, load_bank

MVTEC_AD = (
    "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile "
    "toothbrush transistor wood zipper"
).split()
VISA = (
    "candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 "
    "pipe_fryum"
).split()


def test_the_default_is_the_papers_pairs() -> None:
    assert load_bank().pairs("metal_nut") == (
        PromptPair("broken metal nut with defect", "perfect metal nut"),
        PromptPair("damaged metal nut", "clean surface"),
        PromptPair("scratched metal nut", "clean surface"),
    )


def test_every_category_of_both_benchmarks_has_words_of_its_own() -> None:
    bank = load_bank()
    assert set(bank.categories) == {*MVTEC_AD, *VISA}
    for category in bank.categories:
        pairs = bank.pairs(category, words="category")
        assert len(pairs) >= 3
        assert all(bank.class_name(category) in pair.positive for pair in pairs)


def test_an_unknown_part_gets_the_generic_defect_words() -> None:
    bank = load_bank()
    pairs = bank.pairs("left_door-hinge", words="category")
    assert len(pairs) == len(bank.generic)
    assert pairs[0].positive == f"left door hinge with {bank.generic[0]}"


def test_every_positive_prompt_is_paired_with_every_negative() -> None:
    pairs = load_bank().pairs(
        "screw", positive=["rusty {class_name}", "bent {class_name}"], negative=["new"]
    )
    assert pairs == (PromptPair("rusty screw", "new"), PromptPair("bent screw", "new"))
    kept = load_bank().pairs("screw", positive=["rusty {class_name}"])
    assert {pair.negative for pair in kept} == {"perfect screw", "clean surface"}


def test_draws_are_uniform_and_repeat_with_their_generator() -> None:
    bank = load_bank()
    drawn = [bank.draw("tile", np.random.default_rng((5, i))) for i in range(600)]
    again = [bank.draw("tile", np.random.default_rng((5, i))) for i in range(600)]
    assert drawn == again
    for pair in bank.pairs("tile"):
        assert 150 < drawn.count(pair) < 250


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("  ", "prompt is empty"),
        ("broken {part}", "has the field 'part'; only {class_name} and {defect}"),
        ("broken {}", "has the field ''"),
        ("broken {class_name", "cannot be read"),
    ],
)
def test_an_empty_prompt_or_an_unknown_field_is_refused(
    prompt: str, message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        load_bank().pairs("screw", positive=[prompt])
    assert message in str(caught.value)


def test_a_users_bank_replaces_the_packages(tmp_path: Path) -> None:
    text = PROMPT_BANK.read_text().replace("version = 1", "version = 7")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("damaged {class_name}", "rusty {class_name}"))
    bank = load_bank(path)
    assert bank.version == 7
    assert bank.pairs("screw")[1].positive == "rusty screw"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1", "", "not a prompt bank: KeyError('version')"),
        ("[generic]", "[generic", "not a prompt bank: TOMLDecodeError"),
        ('"smeared print", "a scratch", "a leak"', '""', "defects of capsule must be"),
        ("perfect {class_name}", "{nothing}", "has the field 'nothing'"),
    ],
)
def test_what_is_wrong_with_a_bank_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    text = PROMPT_BANK.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as caught:
        load_bank(path)
    assert message in str(caught.value)


def test_a_missing_bank_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        load_bank(tmp_path / "nowhere.toml")


class _LetterTokenizer:
    """One token per letter, as CLIP's without merges, and eight places."""

    model_max_length = 8

    class _Tokens:
        def __init__(self, ids: list[int]) -> None:
            self.input_ids = ids

    def __call__(self, text: str) -> _Tokens:
        return self._Tokens([0, *map(ord, text), 1])

    def decode(self, token_ids: list[int]) -> str:
        return "".join(map(chr, token_ids))


def test_the_log_shows_where_a_long_prompt_was_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert cut_by_clip("screws", _LetterTokenizer()) is None
    with caplog.at_level(logging.WARNING):
        assert cut_by_clip("screwdriver", _LetterTokenizer()) == "river"
    assert "13 tokens, CLIP reads 8: cut after 'screwd', dropped 'river'" in caplog.text
