"""Names as they are printed and pasted, and names of outputs and temporary files."""

import os
import subprocess
from pathlib import Path

import pytest

from datasets.errors import one_line_errors
from datasets.file_names import (
    MOST_BYTES,
    OutputNames,
    category_name,
    printable,
    require_plain,
    shell_line,
    shortened_name,
    temporary_path,
)
from datasets.files import write_atomically

LATIN_1 = os.fsdecode(b"gr\xfcn")
ODD = (
    *(LATIN_1, "a b", "it's", 'a"b', "$HOME", "a\nb", "a\\b", "-a", " a ", "100%#"),
    *("写真\u3000", "a\u2028b", "é", "~", f"'{LATIN_1}\\\n1"),
)


@pytest.mark.parametrize("name", ODD)
def test_a_printed_name_is_one_line_of_text(name):
    shown = printable(name)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) == 1


def test_text_is_printed_as_it_is():
    assert printable("写真\u3000é a.png") == "写真\u3000é a.png"
    assert printable(f"{LATIN_1}\t") == r"gr\xfcn\t"


def test_a_category_has_a_name_that_is_a_folder_for_every_library():
    assert category_name(LATIN_1) == "gr_xfcn"
    assert category_name("a\\b c") == "a_b c"


def test_a_printed_line_is_pasted_with_the_same_words():
    """One shell for all names, since each start takes time."""
    line = shell_line("printf", r"%s\0", *ODD, Path("-dash"))
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
    )
    words = os.fsdecode(done.stdout).split("\0")[:-1]
    assert words == [*ODD, "./-dash"]


def test_a_path_that_libraries_cannot_open_is_refused():
    require_plain(Path("é a"), "--out")
    for name, shown in ((LATIN_1, r"gr\xfcn"), ("a\\b", "a\\b")):
        with pytest.raises(
            ValueError, match="--out must be a path in UTF-8"
        ) as refused:
            require_plain(Path(name), "--out")
        assert str(refused.value).endswith(f"got {shown}")


@pytest.mark.parametrize("name", ["n" * MOST_BYTES, "é" * 127, LATIN_1])
def test_a_file_with_the_longest_name_is_written_atomically(tmp_path, name):
    path = tmp_path / name
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data"
    assert list(tmp_path.iterdir()) == [path]
    assert temporary_path(path) != temporary_path(tmp_path / "other")
    assert temporary_path(path).name.startswith(".")


@pytest.mark.parametrize("name", ["n" * 300, "é" * 150, LATIN_1 * 90])
def test_a_shortened_name_fits_and_stays_different(name):
    short = shortened_name(name, 100)
    assert 90 <= len(os.fsencode(short)) <= 100
    assert short != shortened_name(f"{name}x", 100)
    assert shortened_name("short.", 100) == "short."


def outputs(*names: str) -> list[str]:
    made = OutputNames(".jpg", ".tiff")
    return [str(made.of(name)) for name in names]


def test_names_that_differ_in_their_ending_alone_get_an_output_each():
    assert outputs("a.jpg", "a.png", "a.png.tif", "b.png", "a.jpg") == [
        *("a", "a.png", "a.png.tif", "b", "a")
    ]


def test_names_that_differ_in_case_alone_get_an_output_each():
    assert outputs("a.png", "A.png", "a.PNG") == ["a", "A.png", "a.PNG-2"]


def test_a_folder_and_a_file_get_different_outputs():
    """The output of a.png would be a.jpg, which is also the name of a folder."""
    assert outputs("a.png", "a.jpg/b.png") == ["a", "a.jpg-2/b"]
    assert outputs("a.jpg/b.png", "a.png", "a.jpg/c.png") == [
        *("a.jpg/b", "a.png", "a.jpg/c")
    ]


def test_outputs_of_the_longest_names_fit():
    names = [f"{'n' * 251}.png", f"{'n' * 251}.jpg", f"{'é' * 125}.png", "..png"]
    made = outputs(*names)
    assert len(set(made)) == len(names)
    assert max(len(os.fsencode(name)) for name in made) <= MOST_BYTES - len(".tiff")
    assert made[-1] == "..png"


def test_an_error_names_a_file_with_all_of_its_spaces(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise FileNotFoundError(f"a  b\n c {LATIN_1}.png")
    assert capsys.readouterr().err == "error: a  b c gr\\xfcn.png\n"
