"""A training curve as inline SVG: one measure by epoch, drawn in the page's own colours (CSS classes, no script)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 420, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 56, 14, 30


def svg(title: str, values: Sequence[float], *, percent: bool = False, floor_line: float | None = None) -> str:
    """The values of epochs 1, 2, ... as a line with points. floor_line: a level to show as dashed (the bar to pass).

    Gives "" for no values.
    """
    if not values:
        return ""
    levels = [*values, *([floor_line] if floor_line is not None else [])]
    low, high = (min(levels), 1.0) if percent else (0.0, max(levels))
    step = _step(high - low or 1.0)
    low, top = floor(low / step) * step, floor(low / step) * step
    while top < high - 1e-9:
        top += step
    top = top if top > low else low + step
    span = top - low

    def x(index: int) -> float:
        width = WIDTH - _LEFT - _RIGHT
        return _LEFT + (width * index / (len(values) - 1) if len(values) > 1 else width / 2)

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / span)

    def text(value: float) -> str:
        return f"{value:.0%}" if percent else f"{value:.3g}"

    def exact(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.3f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} by epoch" class="curve">']
    level = low
    while level <= top + 1e-9:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y(level) + 4:.1f}" text-anchor="end">{text(level)}</text>'
        )
        level += step
    for index in range(len(values)):
        parts.append(f'<text class="tick" x="{x(index):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{index + 1}</text>')
    if floor_line is not None:
        at = y(floor_line)
        parts.append(f'<line class="bar" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
    points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values))
    parts.append(f'<polyline class="line" points="{points}"/>')
    for index, value in enumerate(values):
        about = f"epoch {index + 1}: {exact(value)}"
        parts.append(
            f'<circle class="point" cx="{x(index):.1f}" cy="{y(value):.1f}" r="4"><title>{about}</title></circle>'
        )
    parts.append(
        f'<text class="end" x="{x(len(values) - 1) + 9:.1f}" y="{y(values[-1]) + 4:.1f}">{exact(values[-1])}</text>'
    )
    return "".join([*parts, "</svg>"])


def _step(span: float) -> float:
    """A round step (1, 2 or 5 times a power of ten) that divides a span into three to six parts."""
    raw = span / 4
    power = 10.0 ** floor(log10(raw))
    return min((m * power for m in (1, 2, 5, 10)), key=lambda step: abs(step - raw))
