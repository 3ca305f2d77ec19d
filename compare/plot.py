"""Dot plots as SVG: a row for each server, a panel for each workload, on a logarithmic axis.

Knows neither servers nor files. Invariant: a dot is a median and its line reaches from the least to the most.
"""

import math
from dataclasses import dataclass
from html import escape
from textwrap import wrap

NAMES_WIDTH = 128
PANEL_WIDTH = 226
PANEL_GAP = 18
ROW_HEIGHT = 21
HEAD_HEIGHT = 76
FOOT_HEIGHT = 34
# Room for a figure beside the dot that is farthest right.
LABEL_WIDTH = 44
TITLE_CHARACTERS = 30
# Of the plot, for its title.
WIDTH_MIN = 600

FIRST, SECOND, OTHERS, PALE, INK = "#c2410c", "#ea8a4b", "#475569", "#e2e8f0", "#0f172a"


@dataclass(frozen=True)
class Row:
    """A server in a panel. Without a median, `note` says why."""

    name: str
    median: float | None = None
    least: float | None = None
    most: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Panel:
    title: str
    rows: list


def dots(title, unit, panels, *, one_axis):
    """Draws it; `one_axis` where all panels are to have the same."""
    width = max(NAMES_WIDTH + len(panels) * (PANEL_WIDTH + PANEL_GAP), WIDTH_MIN)
    height = HEAD_HEIGHT + len(panels[0].rows) * ROW_HEIGHT + FOOT_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(12, 22, title, size=14, weight="600"),
    ]
    for at, row in enumerate(panels[0].rows):
        parts.append(text(NAMES_WIDTH - 10, row_y(at) + 4, row.name, anchor="end", fill=colour(at), weight=weight(at)))
    common = axis_of([row for panel in panels for row in panel.rows]) if one_axis else None
    for number, panel in enumerate(panels):
        left = NAMES_WIDTH + number * (PANEL_WIDTH + PANEL_GAP)
        parts += draw_panel(panel, left, common or axis_of(panel.rows), unit)
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_panel(panel, left, axis, unit):
    bottom = row_y(len(panel.rows)) - ROW_HEIGHT // 2
    lines = wrap(panel.title, TITLE_CHARACTERS)[:2]
    parts = [text(left, HEAD_HEIGHT - 8 - 15 * (len(lines) - at), line, weight="600") for at, line in enumerate(lines)]
    for at in range(len(panel.rows)):
        parts.append(f'<line x1="{left}" x2="{left + PANEL_WIDTH}" y1="{row_y(at)}" y2="{row_y(at)}" stroke="{PALE}"/>')
    for tick in ticks(axis):
        x = left + place(tick, axis)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD_HEIGHT - 12}" y2="{bottom}" stroke="{PALE}"/>')
        parts.append(text(x, bottom + 15, tick_label(tick), anchor="middle", size=11, fill=OTHERS))
    parts.append(text(left + PANEL_WIDTH, bottom + 15, unit, anchor="end", size=11, fill=OTHERS))
    first = panel.rows[0].median
    if first:
        x = left + place(first, axis)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD_HEIGHT - 12}" y2="{bottom}" stroke="{FIRST}" '
            'stroke-dasharray="2 3"/>'
        )
    for at, row in enumerate(panel.rows):
        parts += draw_row(row, at, left, axis)
    return parts


def draw_row(row, at, left, axis):
    y = row_y(at)
    if not row.median or row.median <= 0:
        return [text(left + 4, y + 4, row.note or "none", size=11, fill="#b91c1c")]
    x, from_x, to_x = (left + place(value, axis) for value in (row.median, max(row.least, axis[0]), row.most))
    label = short(row.median)
    return [
        f'<line x1="{from_x:.1f}" x2="{to_x:.1f}" y1="{y}" y2="{y}" stroke="{colour(at)}" stroke-width="3" '
        'stroke-opacity="0.4" stroke-linecap="round"/>',
        f'<circle cx="{x:.1f}" cy="{y}" r="4.5" fill="{colour(at)}"/>',
        # On a ground of white, because grid lines run behind it.
        f'<rect x="{max(x, to_x) + 7:.1f}" y="{y - 7}" width="{6.2 * len(label) + 4:.1f}" height="14" fill="white"/>',
        text(max(x, to_x) + 9, y + 4, label, size=11, fill=colour(at), weight=weight(at)),
    ]


def text(x, y, content, *, size=12, anchor="start", fill=INK, weight="400"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )


def row_y(at):
    return HEAD_HEIGHT + at * ROW_HEIGHT + ROW_HEIGHT // 2


def colour(at):
    return (FIRST, SECOND, OTHERS)[min(at, 2)]


def weight(at):
    return "600" if at == 0 else "400"


def axis_of(rows):
    """From the least to the most, with some room: both above 0."""
    values = [value for row in rows for value in (row.least, row.most) if value and value > 0] or [1, 10]
    least, most = min(values), max(values)
    # Never so narrow that a difference of a few percent looks like one of many times.
    if most < 4 * least:
        middle = math.sqrt(least * most)
        least, most = middle / 2, middle * 2
    return least / 1.15, most


def place(value, axis):
    """Where on the axis, in pixels from its left end."""
    low, high = axis
    return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low)) * (PANEL_WIDTH - LABEL_WIDTH)


def ticks(axis):
    """Round numbers on the axis: few enough to be read."""
    low, high = axis
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(found) <= 4:
            return found
    return found[:: math.ceil(len(found) / 4)]


def short(value):
    """With three digits that count: 1.23, 45.6, 789, 12.3k, 4.56M."""
    factor, letter = next(((f, l) for f, l in ((1e6, "M"), (1e3, "k")) if value >= f * 0.9995), (1, ""))
    scaled = value / factor
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{digits}f}{letter}"


def tick_label(value):
    """A round number: 0.3, 50, 20k."""
    label = short(value)
    letter = label[-1] if label[-1] in "Mk" else ""
    number = label.removesuffix(letter)
    return (number.rstrip("0").rstrip(".") if "." in number else number) + letter
