"""Using the page at `/` in a browser."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from support.browser import complaints
from support.patience import PATIENCE

READY = "#method optgroup:nth-child(6) option"
"""An element that is there once the page has listed the methods."""


@contextmanager
def opened(
    browser: Any, server: Any, mistakes: bool = True, prepare: Callable[[Any], None] | None = None, **options: Any
) -> Iterator[Any]:
    """The page, ready; afterwards nothing was said in its console unless `mistakes` is false, nothing asked elsewhere.

    `prepare` is called with the page before it is opened.
    """
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}} | options)
    page = context.new_page()
    said, asked = complaints(page), []
    page.on("request", lambda request: asked.append(urlsplit(request.url)))
    if prepare is not None:
        prepare(page)
    page.goto(server.url)
    page.wait_for_selector(READY, state="attached")
    try:
        yield page
        assert said == [] or not mistakes
        assert {url.netloc for url in asked if url.scheme not in ("blob", "data")} == {urlsplit(server.url).netloc}
    finally:
        context.close()


def set_field(page: Any, name: str, value: Any) -> None:
    """Write into a field of the settings, which may be closed."""
    page.evaluate("([name, value]) => { document.getElementById(name).value = value; }", [name, str(value)])


def ask(page: Any, question: str, method: str = "", n: int | None = None, tokens: int = 12) -> None:
    """Ask a question."""
    page.select_option("#method", method)
    if n is not None:
        page.fill("#n", str(n))
    set_field(page, "max_tokens", tokens)
    page.fill("#question", question)
    page.press("#question", "Enter")


def answered(page: Any, number: int = 1) -> None:
    """Wait until there are this many answers, all complete."""
    page.wait_for_function(
        "number => document.querySelectorAll('article.assistant:not([aria-busy])').length === number", arg=number
    )


@contextmanager
def paused(server: Any, steps: int) -> Iterator[Callable[[], None]]:
    """Have the engine of the model tiny stop after a number of steps, until the given function is called."""
    engine, done, may_step = server.service.models.served["tiny"].loaded.engine, itertools.count(), threading.Event()
    step = engine.step
    engine.step = lambda: (next(done) < steps or may_step.wait(PATIENCE)) and step()
    try:
        yield may_step.set
    finally:
        may_step.set()
        del engine.step
