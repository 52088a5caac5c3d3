#!/usr/bin/env python3
"""Measure the page that verifies receipts in Chromium on a cold start: seconds to the verdict, speed, memory.

    PYTHONPATH=tests python benchmarks/verify_page.py MODEL.gguf [--tokens 96] [--wasm js/dist/intact.wasm]

A receipt is made first with the model, which must be an instruct model that the page supports. Memory is the peak of
one of the browser's rendering processes (VmHWM, Linux only), and of the WebAssembly module as the page reports it.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import intact
from intact._base.markup.verify_page import page as page_text
from support.browser import browser

PATIENCE = 600_000  # milliseconds
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--wasm", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        receipt, html = Path(folder, "sky.receipt"), Path(folder, "index.html")
        html.write_text(page_text(options.wasm), "utf-8")
        model = intact.load(options.model)
        drawn = {"temperature": 0.8, "seed": 7, "max_tokens": options.tokens, "ignore_eos": True}
        model.chat(QUESTION, receipt=True, **drawn).receipt.save(receipt)
        del model
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        with browser() as chromium:
            print(f"Chromium {chromium.version}")
            measure(chromium, html.as_uri(), receipt, options.model)


def measure(chromium: Any, address: str, receipt: Path, model: Path) -> None:
    """Open the page, verify, generate, and print the measurements."""
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_function("() => document.getElementById('status').textContent.startsWith('Choose')")
    print(f"page ready: {time.perf_counter() - began:.1f} s")
    before = most_memory()
    page.set_input_files("#receipt-file", receipt)
    began = time.perf_counter()
    page.set_input_files("#model-file", model)
    page.wait_for_function("() => !document.getElementById('verdict').hidden")
    print(f"verdict: {time.perf_counter() - began:.1f} s, {page.inner_text('#status')}")
    print(page.inner_text("#model-state"))
    size = model.stat().st_size / 1e6
    print(
        f"most memory of a rendering process: {most_memory():.0f} MB; before: {before:.0f} MB; the file: {size:.0f} MB"
    )
    page.click("#write")
    page.wait_for_function("() => / a second/.test(document.getElementById('try-state').textContent)")
    print(page.inner_text("#try-state"))


def most_memory() -> float:
    """Return the largest peak memory of a rendering process on this machine, in megabytes."""
    found = [0]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                found += [
                    int(kilobytes) for kilobytes in re.findall(r"VmHWM:\s+(\d+)", (folder / "status").read_text())
                ]
        except OSError:
            continue  # it has ended
    return max(found) * 1024 / 1e6


if __name__ == "__main__":
    main()
