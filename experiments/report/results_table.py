"""The table that a run prints at its end: one row for each category, and the mean."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

WIDTH = 100
NAME_WIDTH = 28
MEAN = "mean"
NOT_COMPUTED = "-"


class Column(NamedTuple):
    """One metric: its key in results.jsonl, its short name, and its name in full."""

    key: str
    short: str
    full: str


COLUMNS = (
    Column("image_auroc", "I-AUROC", "image AUROC"),
    Column("image_ap", "I-AP", "image average precision"),
    Column("image_f1_max", "I-F1max", "image F1 at the best threshold"),
    Column("pixel_auroc", "P-AUROC", "pixel AUROC"),
    Column("pixel_ap", "P-AP", "pixel average precision"),
    Column("pixel_f1_max", "P-F1max", "pixel F1 at the best threshold"),
    Column("pro", "PRO", "per-region overlap up to a false-positive rate of 0.3"),
)
SETTINGS = (
    ("dataset", "{}"),
    ("shots", "{}-shot"),
    ("seed", "seed {}"),
    ("method", "method {}"),
    ("preset", "preset {}"),
    ("backbone", "backbone {}"),
    ("quantizer", "quantizer {}"),
    ("image_score", "image score {}"),
)


def setting_of(row: dict[str, Any], key: str) -> Any:
    """A setting from a row of results.jsonl; None if it does not apply.

    Rows without a method are of earlier versions, which had only LFQUIAD.
    """
    return row.get(key, "lfquiad" if key == "method" else None)


def value_of(row: dict[str, Any], key: str) -> float | None:
    """A metric from a row of results.jsonl; None if it was not computed."""
    value = row.get("metrics", {}).get(key)
    return None if value is None or not math.isfinite(value) else float(value)


def mean_of(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    """Mean of a metric over the rows that have it; None if no row has it."""
    values = [v for v in (value_of(row, key) for row in rows) if v is not None]
    return sum(values) / len(values) if values else None


def common_settings(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The settings that all rows share, in words, and the keys of those that differ."""
    shared, differing = [], []
    for key, words in SETTINGS:
        values = {setting_of(row, key) for row in rows}
        if len(values) > 1:
            differing.append(key)
        elif (value := values.pop()) is not None:
            shared.append(words.format(value))
    return shared, differing


def footnotes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each reason why metrics are missing, with metrics and categories."""
    categories_by_reason: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in rows:
        reasons = row.get("not_computed") or {}
        missing = [c for c in COLUMNS if value_of(row, c.key) is None]
        for reason in dict.fromkeys(_reason(reasons, c.key) for c in missing):
            names = tuple(c.short for c in missing if _reason(reasons, c.key) == reason)
            categories_by_reason.setdefault((reason, names), []).append(
                str(row["category"])
            )
    lines = [
        f"{_listed(categories)}: {', '.join(names)} not computed: {reason}"
        for (reason, names), categories in categories_by_reason.items()
    ]
    partial = [c.short for c in COLUMNS if _is_partial(rows, c.key)]
    if partial:
        names = ", ".join(partial)
        lines.append(f"mean of {names}: over the rows that have it")
    return lines


def _reason(reasons: dict[str, str], key: str) -> str:
    return reasons.get(key) or "no reason was recorded"


def _listed(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    if len(names) <= 3:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more"


def _is_partial(rows: Sequence[dict[str, Any]], key: str) -> bool:
    """Whether some rows have the metric and others do not."""
    values = [value_of(row, key) for row in rows]
    return None in values and any(v is not None for v in values)


def _label(row: dict[str, Any], differing: Sequence[str]) -> str:
    """The category, and the settings in which the rows differ."""
    words = dict(SETTINGS)
    settings = {key: setting_of(row, key) for key in differing}
    parts = [
        words[key].format(NOT_COMPUTED if value is None else value)
        for key, value in settings.items()
    ]
    return ", ".join([str(row["category"]), *parts])


def shortened(text: str, width: int) -> str:
    """`text`; if it is wider than `width`, an ellipsis replaces its middle."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def figure(value: float | None) -> str:
    """The value with three decimals, or `-` if it is None."""
    return NOT_COMPUTED if value is None else f"{value:.3f}"


def _time(rows: Sequence[dict[str, Any]]) -> str:
    """The sum of the rows' times, as minutes:seconds."""
    seconds = [row.get("seconds", {}).get("total") for row in rows]
    if any(s is None for s in seconds):
        return NOT_COMPUTED
    minutes, rest = divmod(round(sum(seconds)), 60)
    return f"{minutes}:{rest:02d}"


def _wrapped(text: str, indent: str = "") -> list[str]:
    import textwrap

    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  "
    )


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain-text table: first column left-aligned, other columns right-aligned."""
    cells = [heads, *([shortened(row[0], NAME_WIDTH), *row[1:]] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            [f"{row[0]:<{widths[0]}}"]
            + [f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def results_table(rows: Sequence[dict[str, Any]], *, pro_fpr_limit: float = 0.3) -> str:
    """A table in plain text, at most 100 columns wide, of rows of results.jsonl.

    Above the table stand the settings that all rows share. The last row is the mean
    over the rows and the sum of their times. Below the table follow the metrics' full
    names and the reasons why metrics are missing.

    Raises:
      ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("rows must hold at least one result, got none")
    shared, differing = common_settings(rows)
    labels = [shortened(_label(row, differing), NAME_WIDTH) for row in rows]
    width = max(map(len, [*labels, "category", MEAN]))

    def line(name: str, cells: Sequence[str]) -> str:
        return f"{name:<{width}}" + "".join(f"{cell:>9}" for cell in cells)

    header = line("category", [*(c.short for c in COLUMNS), "time"])
    rule = "-" * len(header)
    body = [
        line(label, [*(figure(value_of(row, c.key)) for c in COLUMNS), _time([row])])
        for label, row in zip(labels, rows, strict=True)
    ]
    means = [figure(mean_of(rows, c.key)) for c in COLUMNS]
    legend = "; ".join(f"{c.short} {c.full}" for c in COLUMNS)
    legend = legend.replace("rate of 0.3", f"rate of {pro_fpr_limit:g}")
    lines = [
        *_wrapped(", ".join(shared)),
        *([""] if shared else []),
        *(header, rule, *body, rule, line(MEAN, [*means, _time(rows)]), ""),
        *_wrapped(f"{legend}; time in minutes:seconds, their sum in the last row."),
        *(part for note in footnotes(rows) for part in _wrapped(f"{note}.", "")),
    ]
    return "\n".join(lines)
