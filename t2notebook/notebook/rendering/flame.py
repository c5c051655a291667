"""A profile as a flame graph: one SVG in HTML, without anything from elsewhere, which a saved notebook keeps.

A box is a function, as wide as the time in it; what it called lies on it. A click on a box makes it as wide as the
graph, and one on the lowest takes that back, where scripts may run; elsewhere boxes tell by their titles.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from html import escape
from typing import Any

#: Pixels: the width that boxes are laid out for, and the height of a row.
WIDTH, ROW = 960, 18
#: Part of the whole under which a box is left out, and the largest number of boxes and rows.
SMALLEST, MOST_BOXES, MOST_ROWS = 0.001, 1500, 60
#: Pixels of a character, roughly.
_CHARACTER = 6.4


@dataclass
class _Box:
    label: str
    title: str
    seconds: float = 0.0
    parts: dict[str, _Box] = field(default_factory=dict)


def flame_html(profile: Any) -> str:
    """Return the HTML of a `t2notebook.client.profile.Profile`."""
    root = _tree(profile)
    head = f"Worker {profile.worker_id} of {profile.job_id}: {profile.seconds:.1f} s, {profile.count} samples"
    note = f" ({profile.note})" if profile.note else ""
    style = (
        "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;"
        "color:var(--jp-ui-font-color1,#24292f)"
    )
    title = f'<div style="{style};margin:4px 0">{escape(head + note)}</div>'
    if not root.seconds:
        return title
    boxes: list[tuple[_Box, float, int]] = []
    _lay(root, 0.0, root.seconds, 0, boxes)
    height = (max(depth for _, _, depth in boxes) + 1) * ROW + 2
    name = f"t2-flame-{uuid.uuid4().hex[:8]}"
    body = "".join(_drawn(box, x, depth, root.seconds, height) for box, x, depth in boxes)
    return (
        f'{title}<svg id="{name}" class="t2-flame" viewBox="0 0 {WIDTH} {height}" width="100%" '
        f'preserveAspectRatio="none" style="max-width:{WIDTH}px;height:auto;display:block;'
        'font:11px var(--jp-code-font-family,monospace)" role="img" '
        f'aria-label="{escape(head)}">{body}</svg><script>{_SCRIPT.replace("NAME", name)}</script>'
    )


#: Zooms: boxes lie by their data, so nothing has to be drawn anew.
_SCRIPT = """(() => {
  const svg = document.getElementById("NAME");
  if (!svg) return;
  const boxes = [...svg.querySelectorAll("g")].map((g) => ({g, x: +g.dataset.x, w: +g.dataset.w, d: +g.dataset.d,
    label: g.dataset.label, rect: g.querySelector("rect"), text: g.querySelector("text")}));
  const width = svg.viewBox.baseVal.width;
  const show = (to) => {
    for (const box of boxes) {
      const inside = box.x < to.x + to.w - 1e-9 && box.x + box.w > to.x + 1e-9;
      box.g.style.display = inside ? "" : "none";
      const left = Math.max(0, (box.x - to.x) / to.w * width);
      const right = Math.min(width, (box.x + box.w - to.x) / to.w * width);
      box.rect.setAttribute("x", left);
      box.rect.setAttribute("width", Math.max(0.5, right - left - 0.5));
      box.text.setAttribute("x", left + 3);
      const fits = Math.floor((right - left - 6) / 6.4);
      box.text.textContent = fits < 3 ? "" : box.label.length <= fits ? box.label : box.label.slice(0, fits - 1) + "…";
      box.g.style.opacity = box.d < to.d ? 0.55 : 1;
    }
  };
  for (const box of boxes) box.g.addEventListener("click", () => show(box));
})();"""


def _tree(profile: Any) -> _Box:
    threads = {thread for thread, _, _ in profile.samples}
    root = _Box("all", "all")
    for thread, seconds, frames in profile.samples:
        root.seconds += seconds
        box = root
        steps: list[tuple[str, str]] = [(thread, f"thread {thread}")] if len(threads) > 1 else []
        steps += [
            (name, f"{name}, {_place(file, line)}{text and ': '}{text}") for file, line, name, text in frames
        ]
        for label, title in steps[:MOST_ROWS]:
            key = title.partition(":")[0]  # a function is one box, whichever of its lines were seen
            box = box.parts.setdefault(key, _Box(label, title))
            box.seconds += seconds
    return root


def _place(file: str, line: int) -> str:
    parts = file.rsplit("/", 2)
    return f"{'/'.join(parts[-2:])}:{line}"


def _lay(box: _Box, x: float, whole: float, depth: int, boxes: list[tuple[_Box, float, int]]) -> None:
    """Add a box and what lies on it, each with where it begins and its row."""
    if len(boxes) >= MOST_BOXES:
        return
    boxes.append((box, x, depth))
    for part in sorted(box.parts.values(), key=lambda part: part.label):
        if part.seconds / whole >= SMALLEST:
            _lay(part, x, whole, depth + 1, boxes)
        x += part.seconds


def _drawn(box: _Box, x: float, depth: int, whole: float, height: int) -> str:
    left, width = x / whole * WIDTH, box.seconds / whole * WIDTH
    label = escape(box.label)
    fits = int((width - 6) / _CHARACTER)
    shown = "" if fits < 3 else label if len(box.label) <= fits else escape(f"{box.label[: fits - 1]}…")
    share = f"{box.seconds:.2f} s, {100 * box.seconds / whole:.1f} %"
    y = height - (depth + 1) * ROW - 1  # the lowest row is the whole; the graph grows upward, as flames do
    return (
        f'<g data-x="{x / whole:.6f}" data-w="{box.seconds / whole:.6f}" data-d="{depth}" data-label="{label}" '
        f'style="cursor:pointer"><title>{escape(box.title)}\n{share}</title>'
        f'<rect x="{left:.2f}" y="{y}" width="{max(0.5, width - 0.5):.2f}" height="{ROW - 1}" rx="2" '
        f'fill="{_color(box.label)}"></rect>'
        f'<text x="{left + 3:.2f}" y="{y + ROW - 6}" fill="#24292f" style="pointer-events:none">{shown}</text></g>'
    )


def _color(label: str) -> str:
    """Return a warm colour, the same for one name."""
    number = sum((index + 1) * ord(character) for index, character in enumerate(label[:40]))
    return f"hsl({20 + number % 35} {70 + number % 20}% {66 + number % 12}%)"
