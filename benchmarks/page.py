#!/usr/bin/env python3
"""Measure the server's page in Chromium: time to the first paint and until it is usable, and to the first token.

    PYTHONPATH=tests python benchmarks/page.py MODEL.gguf [--repeat 5] [--json]

Each repetition opens the page without a cache. The first token is measured from the key press that sends a question
until its text is on the page: with a loaded model (warm), and with one that has not been loaded (cold), for which the
time until the page says that it is loading is measured as well. Medians and ranges are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

from support.browser import browser
from support.page import READY
from support.serving import running

QUESTION = "Why is the sky blue?"
FIRST_PAINT = """() => {
    const paints = performance.getEntriesByType("paint");
    return Object.fromEntries(paints.map(({ name, startTime }) => [name, startTime]));
}"""
LOADED = """() => performance.getEntriesByType("resource").reduce((sum, { transferSize }) => sum + transferSize, 0)"""
WRITTEN = """() => document.querySelector("article.assistant:last-of-type > .text")?.textContent.trim()"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeat", type=int, default=5, help="number of repetitions (5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with browser() as chromium:
        for _ in range(options.repeat):
            with running({"first": options.model, "second": options.model}) as server:
                server.settle(partial(server.idle, "first"))
                for name, value in measure(chromium, server.url).items():
                    found.setdefault(name, []).append(value)
        about = {"chromium": chromium.version, "load": os.getloadavg()[0], "processors": os.cpu_count()}
    if options.json:
        print(json.dumps({**about, "model": options.model.name, "seconds": found}))
        return
    machine = f"load {about['load']:.1f} on {about['processors']} processors"
    print(f"{options.model.name}, Chromium {about['chromium']}, {machine}")
    for name, values in found.items():
        print(f"{name:40} {statistics.median(values):8.3f} ({min(values):.3f} to {max(values):.3f})")


def measure(chromium: Any, address: str) -> dict[str, float]:
    """Open the page once, and ask both models."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(READY, state="attached")
    ready = time.perf_counter() - began
    paints = page.evaluate(FIRST_PAINT)
    found = {
        "first paint, s": paints["first-paint"] / 1000,
        "first contentful paint, s": paints["first-contentful-paint"] / 1000,
        "usable, s": ready,
        "transferred, MB": page.evaluate(LOADED) / 1e6,
    }
    for model, name in (("first", "warm"), ("second", "cold")):
        page.select_option("#model", model)
        page.click("#fresh")
        page.fill("#question", QUESTION)
        began = time.perf_counter()
        page.press("#question", "Enter")
        if name == "cold":
            page.wait_for_function("() => document.querySelector('.waiting')?.textContent.includes('Loading')")
            found["said to be loading, cold, s"] = time.perf_counter() - began
        page.wait_for_function(WRITTEN)
        found[f"first token, {name}, s"] = time.perf_counter() - began
        page.click("#stop") if page.is_visible("#stop") else None
        page.wait_for_selector("#send", state="visible")
    context.close()
    return found


if __name__ == "__main__":
    main()
