#!/usr/bin/env python3
"""Draws docs/fidelity_study.svg from results/B.study.json: attention mass over what a step reads.

--check compares the committed picture instead.
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROW, PICTURE = ROOT / "results/B.study.json", ROOT / "docs/fidelity_study.svg"
LINES = [  # setting, label, colour, dashes
    ("default", "sentencekv", "#0b5fa5", ""), ("found=1", "found=1", "#0b5fa5", "6 4"),
    ("digest=mean", "digest=mean", "#5aa9e6", "2 3"), ("sentencekv_colm2025", "sentencekv_colm2025", "#c0392b", ""),
    ("quest", "quest", "#2e8b57", ""), ("infllm", "infllm", "#8e6bbf", ""), ("snapkv", "snapkv", "#b8860b", ""),
    ("h2o", "h2o", "#777777", ""), ("oracle_topk", "oracle_topk, attended only", "#000000", "1 4")]
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 900, 480, 60, 20, 280, 50


def steps(low, high, size):
    """Multiples of `size` from `low` to `high`."""
    first = -(-low // size)
    return [i * size for i in range(int(first), int(high // size) + 1)]


def picture(row):
    def read(name, cell):
        return cell["attended" if name.startswith("oracle") else "read"]  # an oracle looks at every key to know

    curves = {name: [(read(name, cells[name]), cells[name]["f1"]) for cells in row["value"]["by_budget"].values()]
              for name, *_ in LINES}
    points = [point for curve in curves.values() for point in curve]
    x_max = max(x for x, _ in points)
    y_min = min(y for _, y in points)

    def place(point):
        x, y = point
        return (LEFT + (WIDTH - LEFT - RIGHT) * x / x_max,
                HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - y_min) / (1 - y_min))

    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
             'font-size="13">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for x in steps(0, x_max, 200):
        at, _ = place((x, 1))
        parts += [f'<path d="M{at:.1f} {TOP}V{bottom}" stroke="#ddd"/>',
                  f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{x}</text>']
    for y in steps(y_min, 1, 0.05):
        _, at = place((0, y))
        parts += [f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#ddd"/>',
                  f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y:.2f}</text>']
    parts += [f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">read a step, in tokens\' '
              f'worth of keys and values, index included, of {row["length"]}</text>',
              f'<text x="{LEFT + 8}" y="{TOP + 16}">F1: share of attention mass</text>']
    for number, (name, label, colour, dashes) in enumerate(LINES):
        style = f'stroke="{colour}" stroke-width="2" fill="none"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, sorted(curves[name])))
        y = TOP + 20 + 22 * number
        parts += [f'<path d="M{path}" {style}/>', f'<path d="M{right + 16} {y}h28" {style}/>',
                  f'<text x="{right + 52}" y="{y + 4}">{label}</text>']
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    drawn = picture(json.loads(ROW.read_text()))
    if sys.argv[1:] != ["--check"]:
        PICTURE.write_text(drawn)
    elif drawn != PICTURE.read_text():
        sys.exit(f"{PICTURE.relative_to(ROOT)} is not what {ROW.relative_to(ROOT)} says; run eval/fidelity/plot_study.py")


if __name__ == "__main__":
    main()
