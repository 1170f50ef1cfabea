"""What readers decide or leave out is said once for each kind."""

from pathlib import Path

from datasets.remarks import Remarks, counted, named


def test_each_kind_of_remark_is_made_once_with_the_first_file():
    told = []
    remarks = Remarks(told.append)
    for name in ("a", "b", "a", "c"):
        remarks.add("kind", Path(name), "is odd")
    remarks.add("other", None, "is odd too")
    assert told == ["a is odd", "an image is odd too"]
    assert remarks.lines() == [
        "a is odd (2 others likewise: b, c)",
        "an image is odd too",
    ]


def test_others_are_named_below_the_folder_of_the_first():
    remarks = Remarks()
    for name in ("d/a", "d/x/b\nc", "e/f", "d/g"):
        remarks.add("kind", Path(name), "is odd")
    assert remarks.lines() == ["d/a is odd (3 others likewise: x/b\\nc, e/f, ...)"]


def test_more_than_three_are_counted():
    assert named([1, 2, 3]) == "1, 2, 3"
    assert named([1, 2, 3, 4]) == "1, 2, 3, ..."
    assert counted([1], "entry", "entries") == "1 entry"
