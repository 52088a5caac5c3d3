"""Pictures of pages compared with stored ones, so that a change of looks is seen before it is released.

Pictures of text differ between machines: fonts, their hinting, versions of the browser. Therefore the page is drawn
with a font that the tests bring along (DejaVu Sans, from matplotlib), without animations, and compared at a quarter of
its size, where the edges of letters vanish and rows, panels, colours and buttons remain. A layout digest would not
depend on the browser either, but says nothing about colours, and nobody can look at it.
"""

import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "serve" / "pictures"
SCALE = 4
DIFFERENT = 40
"""Difference of a channel, of 255, from which a pixel differs."""
MOST = 0.01
"""Fraction of pixels that may differ: letters at a quarter of their size, the browser's own controls."""
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
    """The fraction of pixels in which two pictures differ; 1 for pictures of different sizes."""
    import numpy as np

    if one.size != other.size:
        return 1.0
    channels = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max(axis=-1)
    return float((channels > DIFFERENT).mean())


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
        sheet.quantize(64, dither=image.Dither.NONE).save(path, optimize=True)
        return
    assert path.exists(), f"{path} is missing: set {WRITE}=1 to store it, and look at it"
    stored = image.open(path).convert("RGB")
    assert stored.size == sheet.size, f"{path} has other states or sizes: set {WRITE}=1 to store it anew"
    differ = {}
    for i, (state, picture) in enumerate(pictures.items()):
        found = difference(picture, stored.crop((i * width, 0, (i + 1) * width, height)))
        if found > MOST:
            differ[state] = f"{found:.1%} of the pixels"
    if differ:
        build.mkdir(parents=True, exist_ok=True)
        sheet.save(build / f"{name}-now.png")
        stored.save(build / f"{name}-stored.png")
    assert not differ, f"the page looks different in {differ}: see {build}; {WRITE}=1 stores the new looks"
