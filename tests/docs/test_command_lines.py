"""Every command line in the pages is understood by its command."""

import re
import shlex
from collections.abc import Callable, Sequence

import pytest
import tyro

from agm_torch.command_line import Command
from experiments.accuracy.candidates import main_job
from experiments.accuracy.settings import read_settings as read_accuracy
from experiments.backbones import Backbones
from experiments.calibrate import Calibrate
from experiments.cut_textures import CutTextures
from experiments.evaluate.__main__ import Evaluate
from experiments.export import Export
from experiments.few_shot.settings import FewShot
from experiments.patchcore.settings import read_settings as read_patchcore
from experiments.predict.settings import Predict
from experiments.quantizers.settings import read_settings as read_quantizers
from experiments.run.command_line import read_command_line, read_flags
from tests.docs.pages import pages


def _accuracy(argv: Sequence[str]) -> None:
    main_job(read_accuracy(argv).flags)


def _reader(default: object) -> Callable[[Sequence[str]], object]:
    return lambda argv: read_command_line(default, prog="", argv=argv)


READERS: dict[str, Callable[[Sequence[str]], object]] = {
    "agm_torch": lambda argv: tyro.cli(Command, args=list(argv)),  # pyright: ignore[reportArgumentType, reportCallIssue]
    "experiments.accuracy": _accuracy,
    "experiments.backbones": _reader(Backbones()),
    "experiments.calibrate": _reader(Calibrate()),
    "experiments.cut_textures": lambda argv: read_flags(
        CutTextures, prog="", argv=argv
    ),
    "experiments.evaluate": _reader(Evaluate()),
    "experiments.export": _reader(Export()),
    "experiments.few_shot": _reader(FewShot()),
    "experiments.patchcore": read_patchcore,
    "experiments.predict": _reader(Predict()),
    "experiments.quantizers": read_quantizers,
}


def _command_lines() -> list[list[str]]:
    found = []
    for page in pages():
        text = page.read_text()
        for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for line in block.splitlines():
                words = shlex.split(re.sub(r"<[^>]*>", "x", line), comments=True)
                if "-m" in words[:-1] and words[words.index("-m") + 1] in READERS:
                    found.append(words[words.index("-m") + 1 :])
    return found


@pytest.mark.parametrize("words", _command_lines(), ids=" ".join)
def test_the_command_understands_the_line(words: list[str]):
    READERS[words[0]](words[1:])
