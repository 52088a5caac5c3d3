"""Pictures of pages compared with stored ones, so that a change of looks is seen before it is released.

Pictures of text differ between machines: fonts, their hinting, versions of the browser. Therefore the page is drawn
with a font that the tests bring along (DejaVu Sans, from matplotlib), without animations, and compared at a quarter of
its size and by the mean colours of tiles, in which the edges of letters vanish and rows, panels, colours and buttons
remain. A layout digest would not
depend on the browser either, but says nothing about colours, and nobody can look at it.
"""

import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "serve" / "pictures"
SCALE = 4
TILE = 8
"""Size of the tiles whose mean colours are compared, in pixels of the reduced picture: 32 of the page."""
MOST = 10.0
"""Difference of a tile's mean, of 255, that is allowed. Measured with Chromium 156: without hinting and subpixel
positions of letters, pictures differ by up to 7.5; a button that is missing by 21, a paler background of cards by 13.
"""
WRITE = "INTACT_WRITE_PICTURES"
"""Environment variable that has pictures stored instead of compared."""
STYLE = """
@font-face { font-family: "Test Sans"; src: url(/test/DejaVuSans.ttf); }
@font-face { font-family: "Test Sans"; font-weight: 600 900; src: url(/test/DejaVuSans-Bold.ttf); }
@font-face { font-family: "Test Mono"; src: url(/test/DejaVuSansMono.ttf); }
:root, body { font-family: "Test Sans"; }
pre, code, .tool .text { font-family: "Test Mono" !important; }
.elapsed, .speed { visibility: hidden; }
math { display: none; }
"""


def use_fixed_fonts(page: Any) -> None:
    """Have a page, whose policy is bypassed, use the fonts of the tests, and hide what depends on time."""
    matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib's fonts")
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"

    def style(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text() + STYLE)

    page.route("**/page/style.css", style)
    page.route("**/test/*.ttf", lambda route: route.fulfill(path=fonts / route.request.url.rpartition("/")[2]))


def taken(page: Any) -> Any:
    """A picture of a page's window, at a quarter of its size."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    from io import BytesIO

    page.evaluate("document.fonts.ready")
    page.evaluate("document.activeElement?.blur()")
    shot = image.open(BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    return shot.resize((shot.width // SCALE, shot.height // SCALE), image.Resampling.BOX)


def difference(one: Any, other: Any) -> float:
    """The largest difference of a tile's mean colour between two pictures; infinite for pictures of different sizes."""
    import numpy as np

    if one.size != other.size:
        return float("inf")
    change = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    height, width = (size // TILE for size in change.shape[:2])
    tiles = change[: height * TILE, : width * TILE].reshape(height, TILE, width, TILE, 3).mean(axis=(1, 3))
    return float(np.abs(tiles).max())


def compare(pictures: dict[str, Any], name: str, build: Path) -> None:
    """Compare pictures with those stored in one file, from left to right; where they differ, leave both in a folder."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    path = FOLDER / f"{name}.png"
    width, height = next(iter(pictures.values())).size
    sheet = image.new("RGB", (width * len(pictures), height))
    for i, picture in enumerate(pictures.values()):
        sheet.paste(picture, (i * width, 0))
    if os.environ.get(WRITE):
        FOLDER.mkdir(exist_ok=True)
        sheet.point(lambda value: value & 0xFC | 2).save(path, optimize=True)  # six bits: a third of the bytes less
        return
    assert path.exists(), f"{path} is missing: set {WRITE}=1 to store it, and look at it"
    stored = image.open(path).convert("RGB")
    assert stored.size == sheet.size, f"{path} has other states or sizes: set {WRITE}=1 to store it anew"
    differ = {}
    for i, (state, picture) in enumerate(pictures.items()):
        found = difference(picture, stored.crop((i * width, 0, (i + 1) * width, height)))
        if found > MOST:
            differ[state] = round(found, 1)
    if differ:
        build.mkdir(parents=True, exist_ok=True)
        sheet.save(build / f"{name}-now.png")
        stored.save(build / f"{name}-stored.png")
    assert not differ, (
        f"the page looks different ({MOST} is allowed) in {differ}: see {build}; {WRITE}=1 stores the new looks"
    )
