"""The report's page in a browser, and the command that writes it."""

import json
import subprocess
import sys

import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from experiments.report import __main__ as report
from experiments.report.page import write_report
from experiments.report.run_data import read_run
from tests.chromium import Browser, find_chromium
from tests.fake_run import GEAR, result_line, write_category, write_results, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "a_run")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine to open the report with")
    browser = Browser(program, tmp_path_factory.mktemp("chromium") / "profile")
    yield browser
    browser.close()


@pytest.fixture
def page(browser, run):
    """The report of `run`, freshly opened."""
    return opened(browser, run)


def opened(browser, folder, fragment=""):
    browser.open(f"{(folder / 'report.html').as_uri()}{fragment}")
    return browser


def shown_counts(page):
    """The confusion counts shown for the first category."""
    return page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('[data-count]')]"
        ".map(cell => [cell.dataset.count, Number(cell.textContent)]))"
    )


def counts_at(threshold, scores=GEAR):
    """The same counts, computed from the scores."""
    good = scores["good"]
    bad = [
        value for kind, values in scores.items() if kind != "good" for value in values
    ]
    return {
        "passed": sum(value < threshold for value in good),
        "false alarm": sum(value >= threshold for value in good),
        "missed": sum(value < threshold for value in bad),
        "found": sum(value >= threshold for value in bad),
    }


def shown_keys(page):
    """The keys of the images in the visible gallery, in order."""
    return page.evaluate(
        "[...document.querySelectorAll('[role=tabpanel]:not([hidden]) .gallery li')]"
        ".map(card => card.dataset.key)"
    )


def choose(page, name, value):
    """Choose an entry of the list with the label `name`."""
    page.evaluate(
        f"""(() => {{
          const label = [...document.querySelectorAll(
            '[role=tabpanel]:not([hidden]) label')]
            .find(each => each.textContent.startsWith({json.dumps(name)}));
          const list = label.querySelector('select');
          list.value = {json.dumps(value)};
          list.dispatchEvent(new Event('change'));
        }})()"""
    )


def focus(page, selector):
    page.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")


def test_the_page_opens_without_errors_and_requests_nothing_else(run, page):
    assert page.problems() == []
    assert page.requests() == [(run / "report.html").as_uri()]
    assert page.evaluate("document.querySelector('h1').textContent") == "a_run"
    drawn = "[...document.images].map(each => each.complete && each.naturalWidth > 0)"
    assert page.evaluate(drawn).count(True) == len(page.evaluate(drawn)) > 0


def test_the_table_shows_every_category_and_the_mean(page):
    rows = page.evaluate(
        "[...document.querySelectorAll('#results tbody tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert [row[0] for row in rows] == ["gear", "bolt", "mean"]
    assert rows[2] == [
        "mean",
        *("0.900", "0.910", "0.920", "0.930", "0.540", "0.550", "0.760"),
        "2:10",
    ]


def test_the_threshold_starts_at_the_runs_threshold(page):
    assert shown_counts(page) == counts_at(0.5)
    assert shown_counts(page) == {
        "passed": 2,
        "false alarm": 1,
        "missed": 1,
        "found": 3,
    }


def test_arrow_keys_step_the_threshold_through_every_decision(page):
    scores = sorted(value for values in GEAR.values() for value in values)
    focus(page, ".threshold")
    page.press("Home")
    for score in scores:
        assert shown_counts(page) == counts_at(score)
        page.press("ArrowRight")
    assert shown_counts(page) == {
        "passed": 3,
        "false alarm": 0,
        "missed": 4,
        "found": 0,
    }
    page.press("ArrowLeft")
    assert shown_counts(page) == counts_at(scores[-1])


def test_a_step_from_between_two_scores_goes_to_the_neighbour(page):
    focus(page, ".threshold")
    page.press("ArrowLeft")  # from 0.5 down to 0.3
    assert shown_counts(page) == counts_at(0.3)
    page.press("ArrowRight")
    assert shown_counts(page) == counts_at(0.6)


def test_the_threshold_can_be_dragged(page):
    page.evaluate("document.querySelector('.histogram').scrollIntoView()")
    box = page.evaluate(
        "(b => [b.x, b.y, b.width, b.height])"
        "(document.querySelector('.histogram').getBoundingClientRect())"
    )
    left, top, width, height = box
    middle = top + height / 2
    page.drag((left + width / 2, middle), (left + 1, middle))
    assert shown_counts(page) == counts_at(0.0)
    page.drag((left + width / 2, middle), (left + width - 1, middle))
    assert shown_counts(page) == counts_at(1.0)


def test_a_threshold_can_be_typed(page):
    page.evaluate(
        "(entry => { entry.value = '0.65';"
        " entry.dispatchEvent(new Event('change')); })"
        "(document.querySelector('input[type=number]'))"
    )
    assert shown_counts(page) == counts_at(0.65)


def test_the_runs_other_thresholds_can_be_chosen_and_have_statements(browser, tmp_path):
    thresholds = {
        "false_alarm_rate": {"value": 0.5, "statement": "conformal, from 9 images"},
        "max_f1": {"value": 0.25, "statement": "largest F1 on synthetic ones"},
    }
    folder = write_run(
        tmp_path / "run", thresholds=thresholds, threshold_rule="false_alarm_rate"
    )
    write_report(folder)
    page = opened(browser, folder)
    guarantee = page.evaluate("document.querySelector('.guarantee').textContent")
    assert guarantee == "Rule false alarm rate: conformal, from 9 images."
    assert shown_counts(page) == counts_at(0.5)
    page.evaluate(
        "[...document.querySelectorAll('.controls button')]"
        ".find(button => button.textContent === 'max f1: 0.25').click()"
    )
    assert shown_counts(page) == counts_at(0.25)


def test_the_found_defects_follow_the_threshold(page):
    found = (
        "[...document.querySelectorAll('.defects tbody tr')].map(row =>"
        " [row.children[0].textContent, row.children[1].textContent])"
    )
    assert dict(page.evaluate(found)) == {"crack": "1 of 2", "missing tooth": "2 of 2"}
    focus(page, ".threshold")
    page.press("Home")
    assert dict(page.evaluate(found)) == {"crack": "2 of 2", "missing tooth": "2 of 2"}


def test_the_gallery_starts_with_the_worst_mistakes(page):
    # wrong by 0.2 and 0.1; then right by 0.2 and more
    assert shown_keys(page)[:3] == ["crack/001", "good/002", "missing tooth/000"]
    verdicts = page.evaluate(
        "[...document.querySelectorAll('.gallery li')].map(c => c.dataset.verdict)"
    )
    assert verdicts[:3] == ["missed", "false alarm", "found"]
    assert set(verdicts[2:]) == {"found", "passed"}


@pytest.mark.parametrize(
    ("order", "first", "last"),
    [
        ("score-down", "crack/000", "good/000"),
        ("score-up", "good/000", "crack/000"),
        ("defect", "crack/000", "missing tooth/000"),
        ("key", "crack/000", "missing tooth/001"),
    ],
)
def test_the_gallery_can_be_sorted(page, order, first, last):
    choose(page, "sort", order)
    keys = shown_keys(page)
    assert len(keys) == 7
    assert (keys[0], keys[-1]) == (first, last)


def test_the_gallery_can_show_one_defect_or_only_mistakes(page):
    choose(page, "show", "missing tooth")
    assert sorted(shown_keys(page)) == ["missing tooth/000", "missing tooth/001"]
    choose(page, "show", "all")
    page.evaluate("document.querySelector('input[type=checkbox]').click()")
    assert shown_keys(page) == ["crack/001", "good/002"]


def test_the_slider_fades_the_heat_map(page):
    page.evaluate(
        "(slider => { slider.value = 30; slider.dispatchEvent(new Event('input')); })"
        "(document.querySelector('input[type=range]'))"
    )
    opacity = "getComputedStyle(document.querySelector('.heat-map')).opacity"
    assert float(page.evaluate(opacity)) == pytest.approx(0.3)


def test_arrow_keys_change_the_category(page):
    focus(page, "[role=tab]")
    page.press("ArrowRight")
    assert set(shown_keys(page)) == {"good/000", "good/001", "bent/000", "bent/001"}
    assert page.evaluate("document.activeElement.textContent") == "bolt"
    assert page.evaluate("location.hash") == "#category-2"
    page.press("ArrowRight")
    assert "crack/000" in shown_keys(page)


def test_a_link_opens_its_category(browser, run):
    page = opened(browser, run, "#category-2")
    assert "bent/000" in shown_keys(page)


def test_arrow_keys_move_in_the_gallery_and_enter_enlarges_an_image(page):
    title = "document.querySelector('dialog[open] h2')?.textContent ?? null"
    focus(page, ".gallery button")
    page.press("ArrowRight")
    page.press("Enter")
    assert page.evaluate(title) == "good/002"
    page.press("ArrowLeft")
    assert page.evaluate(title) == "crack/001"
    panels = "[...document.querySelectorAll('dialog img')].map(each => each.alt)"
    assert page.evaluate(panels) == [
        *("image", "reconstruction", "heat map", "ground truth")
    ]
    page.press("Escape")
    assert page.evaluate(title) is None


def test_another_image_score_is_shown_with_its_own_threshold(run, page):
    choose(page, "image score", "mean")
    lines = (run / "gear" / "predictions.jsonl").read_text().splitlines()
    images = [json.loads(line) for line in lines]
    good = [i["scores"]["mean"] for i in images if not i["label"]]
    bad = [i["scores"]["mean"] for i in images if i["label"]]
    best = max(
        (2 * found / (found + alarms + len(bad)), -threshold)
        for threshold in good + bad
        for found in [sum(value >= threshold for value in bad)]
        for alarms in [sum(value >= threshold for value in good)]
    )
    threshold = -best[1]
    assert shown_counts(page) == counts_at(threshold, {"good": good, "bad": bad})
    focus(page, ".threshold")
    page.press("End")
    assert shown_counts(page)["found"] == 0


def test_the_area_under_the_drawn_roc_curve_is_the_auroc(page):
    scores = [0.3, 0.3, 0.9, 0.2, 0.3, 0.7, 0.2, 0.6]
    labels = [0, 1, 1, 0, 0, 1, 1, 0]
    images = [
        {"label": label, "scores": {"max": score}}
        for score, label in zip(scores, labels, strict=True)
    ]
    area = page.evaluate(f"areaUnder(rocCurve({json.dumps(images)}, 'max'))")
    assert area == pytest.approx(roc_auc_score(labels, scores))


def test_training_and_code_usage_are_drawn(page):
    titles = page.evaluate(
        "[...document.querySelectorAll('.chart figcaption')].map(e => e.textContent)"
    )
    assert titles == [
        "ROC",
        "PRO: integrated over the shaded part",
        "losses, logarithmic",
        "validation on synthetic anomalies",
        "perplexity",
        "used codes",
    ]
    lines = page.evaluate(
        "[...document.querySelectorAll('.chart polyline')]"
        ".map(e => e.getAttribute('points'))"
    )
    assert lines
    assert not any("NaN" in points for points in lines)


def test_pictures_of_codes_are_shown_if_there_are_any(browser, tmp_path):
    folder = write_run(tmp_path / "a_run")
    names = [category["name"] for category in read_run(folder)["categories"]]
    with_codes = folder / names[0]
    Image.new("RGB", (30, 20), "red").save(with_codes / "codes.png")
    write_report(folder)
    codes = [category["codes"] for category in read_run(folder)["categories"]]
    assert list(codes[0]) == ["usage and bits"]
    assert codes[1:] == [{}] * (len(names) - 1)
    page = opened(browser, folder)
    shown = "[...document.querySelectorAll('.codes img')]"
    assert page.evaluate(f"{shown}.map(e => e.alt)") == [
        "codes of test images: usage and bits"
    ]
    assert page.evaluate(f"{shown}[0].decode().then(() => {shown}[0].naturalWidth)")
    assert not page.problems()


def test_the_page_follows_the_systems_colour_scheme(browser, run):
    page = opened(browser, run)
    grounds = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.call("Emulation.setEmulatedMedia", features=[feature])
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] == "rgb(255, 255, 255)"
    assert grounds[1] != grounds[0]


def test_a_name_is_text_and_never_markup(browser, tmp_path):
    hostile = "</script><img src=x onerror='document.title=1'>"
    folder = write_run(tmp_path / "run")
    line = write_category(folder, "gear", GEAR) | {"not_computed": {"pro": hostile}}
    line["metrics"]["pro"] = None  # type: ignore[assignment]
    path = folder / "gear" / "predictions.jsonl"
    path.write_text(path.read_text().replace("crack/000", hostile))
    write_results(folder, [line])
    write_report(folder)
    page = opened(browser, folder)
    assert page.problems() == []
    assert hostile in shown_keys(page)
    assert page.evaluate("document.title").startswith("LFQUIAD")
    assert hostile in page.evaluate("document.querySelector('.note').textContent")


def test_a_run_with_little_in_it_still_opens(browser, tmp_path):
    folder = tmp_path / "run"
    good = write_category(folder, "good_only", {"good": [0.2, 0.2]}, threshold=None)
    bare = result_line("bare", {})
    write_results(folder, [bare, good | {"per_defect": {}}])
    (folder / "config.json").write_text('{"config": {}}')
    (folder / "good_only" / "curves.json").unlink()
    write_report(folder)
    for fragment in ("#category-1", "#category-2", "#category-9"):
        assert opened(browser, folder, fragment).problems() == []
    page = opened(browser, folder, "#category-2")
    assert len(shown_keys(page)) == 2


def test_the_same_files_give_the_same_page(run):
    before = (run / "report.html").read_bytes()
    assert write_report(run).read_bytes() == before


def test_nan_in_the_results_does_not_break_the_page(tmp_path):
    folder = write_run(tmp_path / "run", best_step=float("nan"))
    text = write_report(folder).read_text()
    data = text.split('id="run-data">')[1].split("</script>")[0]
    assert json.loads(data)["categories"][0]["result"]["best_step"] is None


def test_the_paper_is_shown_beside_the_run(browser, tmp_path):
    folder = write_run(tmp_path / "run", dataset="visa", shots=1)
    write_report(folder)
    page = opened(browser, folder)
    rows = page.evaluate(
        "[...document.querySelectorAll('#paper tbody tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert ["LFQUIAD", "88.8", "96.4", "82.7"] in rows
    assert rows[-1] == ["this run", "90.0", "93.0", "76.0"]
    assert "2 of the 12 categories" in page.evaluate("document.body.innerText")


def error_of(capsys, *arguments):
    """The one line that the command prints for a mistake."""
    with pytest.raises(SystemExit) as ended:
        report.main([str(each) for each in arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_missing_folder_gets_one_line(tmp_path, capsys):
    folder = tmp_path / "nothing"
    assert error_of(capsys, folder) == f"error: there is no run folder {folder}"


def test_a_folder_that_is_not_a_run_gets_one_line(tmp_path, capsys):
    line = error_of(capsys, tmp_path)
    assert line == f"error: {tmp_path} holds no run: it has no config.json"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("{}", "holds no run: its config.json has no config"),
        ("[]", "holds no run: its config.json has no config"),
        ('{"config": {', "config.json is damaged: "),
        (
            '{"command": "accuracy", "config": {}}',
            "a run of experiments.accuracy, not of experiments.few_shot or patchcore",
        ),
        ('{"config": {}}', "results.jsonl line 1 has no category"),
    ],
)
def test_a_run_of_another_command_or_a_damaged_run_gets_one_line(
    tmp_path, capsys, config, expected
):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "results.jsonl").write_text('{"variant": "lfq", "points": []}\n')
    assert expected in error_of(capsys, tmp_path)


def test_a_run_without_results_gets_one_line(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"config": {}}')
    assert "has no results yet" in error_of(capsys, tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_damaged_file_is_named_with_its_line(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    path = folder / "gear" / "predictions.jsonl"
    path.write_text("{}\n{oh\n{}\n")
    path.write_text(path.read_text().replace("{}\n", '{"key": "a", "x": 1}\n'))
    assert f"{path} line 2 is damaged" in error_of(capsys, folder)


def test_a_run_of_an_earlier_version_is_refused(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    path = folder / "results.jsonl"
    path.write_text(path.read_text().replace('"backbone"', '"encoder"'))
    assert f"{path} line 1 has no backbone" in error_of(capsys, folder)


def test_the_command_prints_the_path_of_the_page(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    report.main([str(folder)])
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert (folder / "report.html").stat().st_size > 10_000


def imported_by(code):
    """The modules that a new Python process has imported after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_report_is_written_without_jax_or_lfq_jax(run):
    code = (
        "from pathlib import Path; from experiments.report.page import write_report; "
        f"write_report(Path({str(run)!r}))"
    )
    modules = imported_by(code)
    assert "PIL" in modules
    assert not {"jax", "torch", "lfq_jax"} & modules


def test_help_imports_nothing_slow():
    code = (
        "from experiments.report.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass"
    )
    assert not {"jax", "numpy", "scipy", "PIL"} & imported_by(code)
