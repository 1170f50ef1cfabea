"""docs/how_to/backbones.md: the program that it shows runs."""

from tests.docs.pages import code_blocks
from tests.tiny_encoder import write_squeezenet

PAGE = "docs/how_to/backbones.md"


def test_the_program_of_the_page_runs(tmp_path, monkeypatch, capsys):
    (program,) = [b for b in code_blocks(PAGE) if "load_backbone" in b]
    write_squeezenet(tmp_path / "squeezenet.npz")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program, PAGE, "exec"), names)
    assert "squeezenet1_1" in capsys.readouterr().out
    assert names["fine"].shape == (1, 31, 31, 256)
    assert names["coarse"].shape == (1, 15, 15, 512)
