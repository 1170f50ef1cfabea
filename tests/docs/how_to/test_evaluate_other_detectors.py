"""docs/how_to/evaluate_other_detectors.md: the program that it shows runs."""

from tests.docs.pages import code_blocks

PAGE = "docs/how_to/evaluate_other_detectors.md"


def test_the_program_of_the_page_runs(capsys):
    (program,) = code_blocks(PAGE)
    exec(compile(program, PAGE, "exec"), {})
    auroc, pro, *_ = capsys.readouterr().out.split()
    assert 0.5 < float(auroc) < 1 and 0.5 < float(pro) < 1
