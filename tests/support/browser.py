"""A real browser, where there is one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.patience import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window, by Playwright; skips the test where either is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    if not any(map(shutil.which, NAMES)):
        pytest.skip(f"needs a browser: {', '.join(NAMES)}")
    with sync_api.sync_playwright() as playwright, launched(playwright.chromium) as chromium:
        yield chromium


@contextmanager
def launched(kind: Any, *flags: str) -> Iterator[Any]:
    """Another browser of a kind that is here (`browser_type` of one that runs), with flags."""
    found = next(filter(None, map(shutil.which, NAMES)))
    unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run boxed as root
    started = kind.launch(executable_path=found, args=[*unboxed, *flags], timeout=1000 * PATIENCE)
    for name in ("new_page", "new_context"):
        setattr(started, name, _patient(getattr(started, name)))
    try:
        yield started
    finally:
        started.close()


def _patient(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes pages or contexts which wait for what they should find as long as tests do."""

    def made(*arguments: Any, **options: Any) -> Any:
        one = make(*arguments, **options)
        one.set_default_timeout(1000 * PATIENCE)
        return one

    return made


def complaints(page: Any) -> list[str]:
    """What the page's console will say that should not be said."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide
