"""A resource form as static HTML: for whoever opens the notebook without a kernel."""

from __future__ import annotations

from html import escape

from ...views.resource_values import ResourceValues
from ...views.snapshot import clock, day, mebibytes, zone

_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.4"
_MONO = "font-family:var(--jp-code-font-family,monospace);font-size:12px"
#: A form whose kernel is gone leaves an error in JupyterLab; what stands below it takes its place.
_COVERS = (
    "<style>.jp-OutputArea-child:not(:has(.t2-form)):has(+.jp-OutputArea-child .t2-formkept)"
    "{display:none}</style>"
)


def form_html(values: ResourceValues, line: str, name: str, now: float) -> str:
    """Return the chosen numbers and the line that asks for them.

    Parameters
    ----------
    values : ResourceValues
    line : str
        The first line of such a cell.
    name : str
        The class by which a live form hides this.
    now : float
        Seconds since 1970.
    """
    facts = [f"{values.workers:,} worker{'s' * (values.workers != 1)}"]
    facts.append(f"each with {values.cpus:g} cpu{'s' * (values.cpus != 1)} and {mebibytes(values.ram)}")
    if values.disk:
        facts.append(f"{values.disk:g} GiB of disk")
    if values.gpus:
        facts.append(f"{values.gpus} GPU{'s' * (values.gpus != 1)}")
    return (
        f'{_COVERS}<div class="t2-static t2-formkept {escape(name)}" style="{_FONT}">'
        f"<div>Resources: {escape(', '.join(facts))}</div>"
        f'<div><code style="{_MONO}">{escape(line)}</code></div>'
        f"<div>Chosen as of {day(now)} {clock(now)} {zone(now)}. The form itself comes from the kernel: as soon as it "
        "has ended what it runs, or when you run this cell.</div></div>"
    )
