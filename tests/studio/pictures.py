"""Takes the pictures of docs/guide/studio.md in Chromium: python -m tests.studio.pictures [FOLDER]."""

from __future__ import annotations

import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.studio.browser import Visitor, chromium, started_studio

SIZE = (1280, 1180)
MARGIN = 40
"""Pixels below what a page shows."""
COLOURS = 128
"""As many are enough for a page, and make small files."""


def main() -> None:
    """Play nine weeks at three prices, look at the elasticities, and keep both."""
    from playwright.sync_api import sync_playwright

    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    with (
        tempfile.TemporaryDirectory() as folder,
        started_studio(Path(folder), "ice-cream") as studio,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        visitor = Visitor(browser, studio, *SIZE)
        visitor.open()
        for cents in (0, 100, 50):
            slider = visitor.page.get_by_role("slider").first
            slider.focus()
            for _ in range(cents):
                slider.press("ArrowLeft")
            for _ in range(3):
                visitor.click("Play a week")
        _keep(visitor, out / "studio-seller.png")
        visitor.go("What if")
        visitor.click("All prices", "tab")
        _keep(visitor, out / "studio-what-if.png")
        browser.close()


def _keep(visitor: Visitor, path: Path) -> None:
    visitor.settle()
    last = "[...document.querySelectorAll('[data-testid=stMain] [data-testid=stElementContainer]')]"
    ends = visitor.page.evaluate(f"Math.max(...{last}.map(part => part.getBoundingClientRect().bottom))")
    visitor.page.set_viewport_size({"width": SIZE[0], "height": round(ends) + MARGIN})
    visitor.settle()
    picture = Image.open(BytesIO(visitor.page.screenshot())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
