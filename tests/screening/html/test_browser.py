"""The page in a browser without a window: nothing is wrong, nothing sticks out, and there is something to see."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from etn_gpu.screening.html import ReportContent, report_page

Make = Callable[..., ReportContent]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (400, 1400)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --enable-logging=stderr --v=0"
)
#: Looks at the page in a frame of each width, and uses it: sorts the first table and points at a dot.
LOOK = """
window.addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, root = page.documentElement;
    const out = [...page.body.querySelectorAll("*")].filter((element) => {
      const box = element.getBoundingClientRect();
      const beyond = box.right > root.clientWidth + 1 || box.left < -1;
      return box.width && beyond && !element.closest(".scroll, .hidden, .shades");
    });
    const cut = [...page.querySelectorAll("svg[role=img]")].flatMap((drawing) => {
      const around = drawing.getBoundingClientRect();
      return [...drawing.querySelectorAll("text")].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.left < around.left - 1 || box.right > around.right + 1 || box.bottom > around.bottom + 1;
      });
    });
    const column = () => [...page.querySelector("table").tBodies[0].rows].map((row) => row.cells[3].textContent);
    const head = page.querySelector("table").tHead.rows[0].cells[3];
    head.click();
    const up = column();
    head.click();
    const down = column();
    const path = page.querySelector("path[data-rows]");
    const drawing = path.closest("svg");
    const [x, y] = path.getAttribute("d").slice(1).split("h")[0].split(" ").map(Number);
    const at = new DOMPoint(x, y).matrixTransform(drawing.getScreenCTM());
    const pointer = { clientX: at.x, clientY: at.y, bubbles: true };
    drawing.dispatchEvent(new frame.contentWindow.PointerEvent("pointermove", pointer));
    return {
      width: root.clientWidth,
      scroll: root.scrollWidth,
      out: out.map((element) => element.outerHTML.slice(0, 200)),
      cut: cut.map((element) => element.outerHTML),
      sections: [...page.querySelectorAll("section")].map((section) => section.id),
      flat: [...page.querySelectorAll("svg[role=img]")].filter((s) => s.getBoundingClientRect().height < 80).length,
      up,
      down,
      tip: page.querySelector(".tip").innerText,
      hidden: page.querySelector(".tip").hidden,
    };
  });
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(found);
  document.body.replaceChildren(result);
});
"""


def browse(tmp_path: Path, page: Path, *options: str) -> str:
    """What the browser prints; anything that the console says is an error."""
    assert CHROMIUM
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *OPTIONS.split(), profile, *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
@pytest.mark.parametrize("elements", [("Mo", "W"), ("Nb", "Mo", "Ta", "W")])
def test_looks(make: Make, elements: tuple[str, ...], tmp_path: Path) -> None:
    content = make(elements, 300, message=["a_very_long_name_without_any_spaces" * 5] * 300, inputs=["x" * 300])
    page = report_page(content)
    frames = "".join(f'<iframe width="{w}" height="900" srcdoc="{html.escape(page)}"></iframe>' for w in WIDTHS)
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><style>iframe {{ border: 0 }}</style>{frames}<script>{LOOK}</script>',
        encoding="utf-8",
    )
    printed = browse(tmp_path, wrapper, "--dump-dom", "--virtual-time-budget=20000", "--window-size=1900,1000")
    found = re.search('<pre id="result">(.*?)</pre>', printed, flags=re.DOTALL)
    assert found, printed[-2000:]
    looks = json.loads(html.unescape(found[1]))
    assert [look["width"] for look in looks] == list(WIDTHS)
    for look in looks:
        assert look["scroll"] <= look["width"]
        assert look["out"] == look["cut"] == []
        assert look["sections"] == ["best", "stability", "distributions", "reasons", "run"]
        assert look["flat"] == 0
        values = [float(text) for text in look["up"]]
        assert values == sorted(values)
        assert look["down"] == sorted(look["up"], key=float, reverse=True)
        assert not look["hidden"]
        assert "formation energy" in look["tip"]

    report, picture = tmp_path / "report.html", tmp_path / "report.png"
    report.write_text(page, encoding="utf-8")
    browse(tmp_path, report, f"--screenshot={picture}", "--window-size=1400,2400")
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape == (2400, 1400, 3)
    # Sections follow one another from the top to the bottom, with margins at the sides.
    inked = (pixels != 255).any(axis=2)
    assert all(part.mean() > 0.02 for part in np.split(inked, 6))
    assert not inked[:, :40].any()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000
