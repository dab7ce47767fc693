#!/usr/bin/env python3
"""Draws the figures of docs/performance.md from what scripts/scale has measured, and prints its tables.

  docs/performance/draw.py docs/performance/results.csv docs/performance
"""

import csv
import math
import sys
from pathlib import Path

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 180, 46, 54

LIGHT = {
    "ground": "#ffffff", "ink": "#1f2328", "grid": "#d8dee4", "c0": "#0969da", "c1": "#bc4c00", "c2": "#1a7f37",
    "c3": "#818b98",
}
DARK = {
    "ground": "#0d1117", "ink": "#e6edf3", "grid": "#30363d", "c0": "#58a6ff", "c1": "#f0883e", "c2": "#3fb950",
    "c3": "#7d8590",
}


def colours(theme):
    """A class each to fill and to draw with a colour; not variables, which not everything that shows SVG knows."""
    return " ".join(f".{name} {{ fill: {of} }} .{name}-line {{ stroke: {of} }}" for name, of in theme.items())


STYLE = f"""
  text {{ font: 13px sans-serif }} .title {{ font-weight: bold; font-size: 15px }}
  .line {{ fill: none; stroke-width: 2 }} .grid-line {{ stroke-width: 1 }}
  .dashed {{ fill: none; stroke-dasharray: 3 5 }}
  {colours(LIGHT)}
  @media (prefers-color-scheme: dark) {{ {colours(DARK)} }}
"""

WORKS = {"first": "first backup", "again": "again, no change", "dry-run": "restore --dry-run", "tar": "tar to nowhere"}
SHAPES = {"folder": ("square", "one folder"), "linked": ("diamond", "two names each")}


class Axis:
    """Values to pixels, by logarithm or not."""

    def __init__(self, low, high, start, end, ticks, log):
        self.scale = math.log if log else float
        self.low, self.high = self.scale(low), self.scale(high)
        self.start, self.end, self.ticks = start, end, ticks

    def at(self, value):
        share = (self.scale(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def short(number):
    for size, unit in ((1_000_000, " M"), (1_000, " k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def mark(shape, x, y, colour):
    style = f'class="ground {colour}-line" stroke-width="2"'
    if shape == "square":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" {style}/>'
    if shape == "diamond":
        return f'<path d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z" {style}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{colour}"/>'


def figure(title, x_name, y_name, x_axis, y_axis, lines, points, guide=None):
    """An SVG; `lines` is label to (x, y) pairs, `points` are (shape, line's number, x, y)."""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" class="ground"/>',
        f'<text class="title ink" x="{LEFT}" y="26">{title}</text>',
    ]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        out.append(f'<path class="grid-line" d="M{x:.1f} {TOP}V{bottom}"/>')
        out.append(f'<text class="ink" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{short(tick)}</text>')
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        out.append(f'<path class="grid-line" d="M{LEFT} {y:.1f}H{right}"/>')
        out.append(f'<text class="ink" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    out.append(f'<text class="ink" x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x_name}</text>')
    middle = (TOP + bottom) / 2
    upright = f'x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})"'
    out.append(f'<text class="ink" {upright}>{y_name}</text>')
    if guide:
        (x1, y1), (x2, y2) = guide
        path = f"M{x_axis.at(x1):.1f} {y_axis.at(y1):.1f}L{x_axis.at(x2):.1f} {y_axis.at(y2):.1f}"
        out.append(f'<path d="{path}" class="dashed ink-line"/>')
    legend = TOP + 10
    for number, (label, pairs) in enumerate(lines.items()):
        spots = [(x_axis.at(x), y_axis.at(y)) for x, y in pairs]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        out.append(f'<path d="M{path}" class="line c{number}-line"/>')
        out.extend(mark("circle", x, y, f"c{number}") for x, y in spots)
        out.append(mark("circle", right + 20, legend - 4, f"c{number}"))
        out.append(f'<text class="ink" x="{right + 32}" y="{legend}">{label}</text>')
        legend += 22
    for shape, number, x, y in points:
        out.append(mark(shape, x_axis.at(x), y_axis.at(y), f"c{number}"))
    for shape, name in SHAPES.values() if points else ():
        out.append(mark(shape, right + 20, legend - 4, "ink"))
        out.append(f'<text class="ink" x="{right + 32}" y="{legend}">{name}</text>')
        legend += 22
    if guide:
        out.append(f'<path d="M{right + 12} {legend - 4}h16" class="dashed ink-line"/>')
        out.append(f'<text class="ink" x="{right + 32}" y="{legend}">in proportion</text>')
    return "\n".join(out) + "\n</svg>\n"


def around(values, log):
    """Least and greatest of an axis, and its ticks: decades, or steps of a round number."""
    if log:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        ticks = [10.0**power for power in range(low, max(high, low + 1) + 1)]
        return ticks[0], ticks[-1], ticks
    step = next(step for step in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500) if max(values) <= 8 * step)
    count = math.ceil(max(values) / step)
    return 0, count * step, [number * step for number in range(count + 1)]


def draw(rows, kind, title, x_name, y_name, value, log):
    """A figure of the rows of a kind and, for files, of those of other shapes; of times also what `tar` takes."""
    lines, points = {}, []
    for number, (work, label) in enumerate(list(WORKS.items())[: 4 if log else 3]):
        of_it = [row for row in rows if row["work"] == work]
        pairs = [(row["size"], value(row)) for row in of_it if row["kind"] == kind]
        lines[label] = sorted(pairs)
        if kind == "spread":
            others = (row for row in of_it if row["kind"] in SHAPES)
            points += [(SHAPES[row["kind"]][0], number, row["files"], value(row)) for row in others]
    spots = [pair for pairs in lines.values() for pair in pairs] + [(x, y) for _, _, x, y in points]
    sizes = sorted({x for pairs in lines.values() for x, _ in pairs})
    x_axis = Axis(sizes[0] * 0.8, max(x for x, _ in spots) * 1.25, LEFT, WIDTH - RIGHT, sizes, True)
    low, high, ticks = around([y for _, y in spots], log)
    y_axis = Axis(low, high, HEIGHT - BOTTOM, TOP, ticks, log)
    guide = None
    if log:
        x, y = lines[WORKS["first"]][-1]
        guide = (sizes[0], y * sizes[0] / x), (x, y)
    return figure(title, x_name, y_name, x_axis, y_axis, lines, points, guide)


def table(rows):
    """As Markdown, a line for each kind and size: of each work the CPU seconds, program and kernel, and the memory."""
    print("| data | first backup | | again, no change | | `restore --dry-run` | | `find` | `tar` | put | state |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    seconds = lambda row: f'{float(row["user_s"]):.2f} + {float(row["system_s"]):.2f} s'
    megabytes = lambda count: f"{int(count) / 1e6:.1f} MB"
    for name in dict.fromkeys(row["row"] for row in rows):
        works = {row["work"]: row for row in rows if row["row"] == name}
        cells = [f"`{name}`"]
        for work in ("first", "again", "dry-run"):
            cells += [seconds(works[work]), f'{int(works[work]["peak_kib"]) / 1024:.0f} MiB']
        cells += [seconds(works["find"]), seconds(works["tar"])]
        cells += [megabytes(works["first"]["stored_bytes"]), megabytes(works["again"]["state_bytes"])]
        print("| " + " | ".join(cells) + " |")


def main(table_file, folder):
    with open(table_file, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["kind"], size = row["row"].split("-")
        row["size"], row["files"] = int(size), int(row["files"])
    cpu = lambda row: max(float(row["user_s"]) + float(row["system_s"]), 0.01)
    memory = lambda row: int(row["peak_kib"]) / 1024
    files, gib = "files (logarithmic)", "size of the file in GiB (logarithmic)"
    seconds, mib = "CPU seconds (logarithmic)", "peak memory in MiB"
    figures = {
        "time-by-files": ("spread", "Time by number of files", files, seconds, cpu, True),
        "memory-by-files": ("spread", "Memory by number of files", files, mib, memory, False),
        "time-by-size": ("file", "Time by size of one file", gib, seconds, cpu, True),
        "memory-by-size": ("file", "Memory by size of one file", gib, mib, memory, False),
    }
    for name, what in figures.items():
        Path(folder, f"{name}.svg").write_text(draw(rows, *what), encoding="utf-8")
    kinds = ["spread", "filled", "folder", "linked", "file"]
    table(sorted(rows, key=lambda row: (kinds.index(row["kind"]), row["size"])))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
