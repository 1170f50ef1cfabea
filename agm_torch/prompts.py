"""Prompts of the diffusion model: what to paint, and what to avoid."""

import logging
import string
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from agm_torch.config import PROMPT_BANK

logger = logging.getLogger(__name__)

Words = Literal["paper", "category"]
_FIELDS = {"class_name", "defect"}


class PromptPair(NamedTuple):
    """The prompt to follow and the prompt to avoid (paper, section 3.2)."""

    positive: str
    negative: str


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that is used here."""

    model_max_length: int

    def __call__(self, text: str) -> Any: ...
    def decode(self, token_ids: list[int]) -> str: ...


@dataclass(frozen=True)
class PromptBank:
    """A versioned list of prompts: `prompts.toml`, or a user's file of this format."""

    version: int
    paper: tuple[PromptPair, ...]
    template: PromptPair
    generic: tuple[str, ...]
    class_names: dict[str, str]
    defects: dict[str, tuple[str, ...]]

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories with their own defect words."""
        return tuple(sorted(self.defects))

    def class_name(self, category: str) -> str:
        """Name of the part in plain English: "metal nut" for `metal_nut`."""
        plain = " ".join(category.replace("_", " ").replace("-", " ").split())
        return self.class_names.get(category, plain)

    def pairs(
        self,
        category: str,
        *,
        words: Words = "paper",
        positive: Sequence[str] = (),
        negative: Sequence[str] = (),
    ) -> tuple[PromptPair, ...]:
        """Every pair that may be drawn for a category.

        Args:
          words: `paper`, the three pairs of the paper; `category`, one pair per defect
            word of the category (or of the generic list).
          positive: a user's own prompts instead of the bank's. Each is paired with
            each negative prompt.
          negative: likewise. Default: the bank's.

        Raises:
          ValueError: a prompt is empty, or has a field that is not `{class_name}` or
            `{defect}`.
        """
        pairs = self.paper if words == "paper" else (self.template,)
        positives = list(positive) or [pair.positive for pair in pairs]
        negatives = list(negative) or [pair.negative for pair in pairs]
        if positive or negative:
            pairs = [PromptPair(p, n) for p in positives for n in negatives]
        filled = [
            PromptPair(
                _filled(pair.positive, self.class_name(category), defect),
                _filled(pair.negative, self.class_name(category), defect),
            )
            for pair in pairs
            for defect in self.defects.get(category, self.generic)
        ]
        return tuple(dict.fromkeys(filled))  # each once, in order

    def draw(
        self, category: str, rng: np.random.Generator, **choice: Any
    ) -> PromptPair:
        """One of `pairs`, drawn uniformly."""
        pairs = self.pairs(category, **choice)
        return pairs[int(rng.integers(len(pairs)))]


def load_bank(path: Path | None = None) -> PromptBank:
    """The prompt bank of a file. Default: the package's.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not a bank. Names what is missing or empty.
    """
    path = path or PROMPT_BANK
    try:
        values = tomllib.loads(path.read_text())
        bank = _bank(values)
    except (
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise ValueError(f"{path} is not a prompt bank: {error!r}") from None
    for category in ("", *bank.categories):
        bank.pairs(category, words="paper")
        bank.pairs(category, words="category")
    return bank


def cut_by_clip(prompt: str, tokenizer: Tokenizer) -> str | None:
    """The end of a prompt that CLIP does not read, None where CLIP reads all of it.

    CLIP's text encoder has a fixed number of places, 77 with the marks of beginning
    and end. The pipelines silently drop the rest.
    """
    tokens = tokenizer(prompt).input_ids
    room = tokenizer.model_max_length
    if len(tokens) <= room:
        return None
    kept = tokenizer.decode(tokens[1 : room - 1])
    dropped = tokenizer.decode(tokens[room - 1 : -1])
    logger.warning(
        "prompt has %d tokens, CLIP reads %d: cut after %r, dropped %r",
        len(tokens),
        room,
        kept[-40:],
        dropped,
    )
    return dropped


def _bank(values: dict[str, Any]) -> PromptBank:
    categories = dict(values["category"])
    template = values["templates"]
    return PromptBank(
        version=int(values["version"]),
        paper=tuple(PromptPair(**pair) for pair in values["paper"]["pairs"]),
        template=PromptPair(template["positive"], template["negative"]),
        generic=_words("generic", values["generic"]["defects"]),
        class_names={
            key: str(entry["class_name"]) for key, entry in categories.items()
        },
        defects={
            key: _words(key, entry["defects"]) for key, entry in categories.items()
        },
    )


def _words(category: str, words: Any) -> tuple[str, ...]:
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"defects of {category} must be words, got {words!r}")
    return tuple(words)


def _filled(template: str, class_name: str, defect: str) -> str:
    try:
        parsed = string.Formatter().parse(template)
        fields = {name for _, name, _, _ in parsed if name is not None}
    except ValueError as error:
        raise ValueError(f"prompt {template!r} cannot be read: {error}") from None
    if not fields <= _FIELDS:
        raise ValueError(
            f"prompt {template!r} has the field {sorted(fields - _FIELDS)[0]!r}; only "
            "{class_name} and {defect} are known"
        )
    text = template.format(class_name=class_name, defect=defect).strip()
    if not template.strip():
        raise ValueError(
            "prompt is empty: write what to paint, or leave the option out"
        )
    return text
