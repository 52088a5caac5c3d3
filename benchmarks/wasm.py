#!/usr/bin/env python3
"""Compare the WebAssembly module in Node and Chromium with native code and with llama.cpp in the same browser (wllama).

    npm install --prefix /tmp/wllama @wllama/wllama
    PYTHONPATH=tests python benchmarks/wasm.py MODEL.gguf --wllama /tmp/wllama/node_modules/@wllama/wllama

For each, it measures a prompt of 512 tokens and a text of 64 after a short one, in tokens per second; and seconds to
verify a receipt of 256 tokens, compared with the seconds that wllama takes to generate as many. Prints medians over the
attempts, with minimum and maximum in brackets. The model must be an instruct model that js/ supports;
js/dist/intact.wasm must be built. A short run has fewer tokens: --prompt 64 --text 16 --receipt 32.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import intact
from intact._base.markup.verify_page import ISOLATION
from intact.receipts.document import Receipt
from intact.receipts.verify import verify
from support.browser import browser

ROOT = Path(__file__).parents[1]
CLIENT = Path(__file__).parent / "clients" / "wasm_speed.mjs"
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
SENTENCES = "Light of the sun is scattered by the air, and blue light more than red. That is why we see a blue sky. "
PATIENCE = 1_200_000  # milliseconds
Found = dict[str, list[float]]

IN_PAGE = """
async ({ threads, receipt, ...given }) => {
  const { BlobSource, WorkerEngine, parseReceipt, startWorker } = await import("/js/src/index.js");
  const { measure } = await import("/wasm_speed.mjs");
  const wasm = await (await fetch("/js/dist/intact.wasm")).arrayBuffer();
  const engine = await WorkerEngine.start({ wasm, worker: startWorker(), threads });
  const began = performance.now();
  const model = await engine.load(new BlobSource(await (await fetch("/model.gguf")).blob(), "model.gguf"));
  const load = (performance.now() - began) / 1000;
  const parsed = parseReceipt(new TextEncoder().encode(receipt));
  const found = await measure(model, (one) => model.verify(one), { ...given, receipt: parsed });
  engine.close();
  return { ...found, load: [load], memory: model.memoryBytes };
}
"""
WLLAMA = """
async ({ threads, prompt, text, tries, count, answer }) => {
  const { Wllama, LoggerWithoutDebug } = await import("/wllama/esm/index.js");
  const wllama = new Wllama({ default: "/wllama/esm/wasm/wllama.wasm" }, { logger: LoggerWithoutDebug });
  const blob = await (await fetch("/model.gguf")).blob();
  const began = performance.now();
  await wllama.loadModel([blob], { n_ctx: 2048, n_threads: threads, n_gpu_layers: 0 });
  const found = { load: [(performance.now() - began) / 1000], prompt: [], stream: [], generate: [] };
  const complete = (given) =>
    wllama.createCompletion({ ...given, temp: 0, temperature: 0, ignore_eos: true, cache_prompt: false });
  for (let i = 0; i < tries; i++) {
    const { timings } = await complete({ prompt, max_tokens: 1 });
    found.prompt.push(timings.prompt_per_second);
    found.tokens = timings.prompt_n;
    found.stream.push((await complete({ prompt: text, max_tokens: count })).timings.predicted_per_second);
    const start = performance.now();
    const made = await complete({ prompt: text, max_tokens: answer });
    if (made.timings.predicted_n !== answer) throw new Error(`it made ${made.timings.predicted_n} tokens`);
    found.generate.push((performance.now() - start) / 1000);
  }
  found.threads = wllama.getNumThreads();
  await wllama.exit();
  return found;
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--wllama", type=Path, metavar="FOLDER", help="folder of the npm package wllama; left out by default"
    )
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--tries", type=int, default=3)
    for name, tokens in (("prompt", 512), ("text", 64), ("receipt", 256)):
        parser.add_argument(f"--{name}", type=int, default=tokens, metavar="TOKENS", help="%(default)s by default")
    options = parser.parse_args()
    model = intact.load(options.model)
    prompt = model.tokenizer.encode(SENTENCES * 40)[: options.prompt]
    drawn = {"temperature": 0.8, "seed": 7, "max_tokens": options.receipt, "ignore_eos": True}
    receipt = model.chat(QUESTION, receipt=True, **drawn).receipt.encode().decode()
    text = model.tokenizer.decode(prompt)
    del model
    job = {"prompt": prompt, "receipt": receipt, "tries": options.tries, "count": options.text}
    counts = {"count": options.text, "answer": options.receipt}
    given = {"prompt": text, "text": SENTENCES[:40], "tries": options.tries, **counts}
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for threads in map(int, options.threads.split(",")):
        show(f"native, {threads} threads", native(options.model, threads, job))
        show(f"Node, {threads} threads", in_node(options.model, threads, job))
        with browser() as chromium, served(options.model, options.wllama) as address:
            page = chromium.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            show(f"Chromium {chromium.version}, {threads} threads", page.evaluate(IN_PAGE, {**job, "threads": threads}))
            if options.wllama:
                show(f"wllama, {threads} threads", page.evaluate(WLLAMA, {**given, "threads": threads}))
    print(f"load after: {os.getloadavg()[0]:.1f}")


def native(path: Path, threads: int, job: dict[str, Any]) -> Found:
    """Measure the native module."""
    found: Found = {"prompt": [], "stream": [], "verify": []}
    model = intact.load(path, threads=threads, drafter="off", prefix_cache=False)
    receipt = Receipt.parse(job["receipt"].encode())
    for _ in range(job["tries"]):
        began = time.perf_counter()
        model.generate([job["prompt"]], max_tokens=1)
        found["prompt"].append(len(job["prompt"]) / (time.perf_counter() - began))
        times = [time.perf_counter() for _ in model.stream(job["prompt"][:8], max_tokens=job["count"], ignore_eos=True)]
        found["stream"].append((job["count"] - 1) / (times[-1] - times[0]))
        began = time.perf_counter()
        assert [one.outcome for one in verify(model, [receipt])] == ["true"]
        found["verify"].append(time.perf_counter() - began)
    return found


def in_node(path: Path, threads: int, job: dict[str, Any]) -> Found:
    """Measure the module in Node."""
    given = json.dumps({**job, "model": str(path), "threads": threads})
    done = subprocess.run(["node", CLIENT], input=given, capture_output=True, text=True, check=True)
    found: Found = json.loads(done.stdout)
    return found


def show(name: str, found: dict[str, Any]) -> None:
    """Print medians with minimum and maximum."""
    parts = []
    for key, values in found.items():
        if isinstance(values, list):
            digits = 2 if max(values) < 20 else 0
            spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
            parts.append(f"{key} {statistics.median(values):.{digits}f}{spread}")
        else:
            parts.append(f"{key} {values:,}")
    print(f"{name}: {', '.join(parts)}", flush=True)


@contextmanager
def served(model: Path, wllama: Path | None) -> Iterator[str]:
    """Serve the package, the model and wllama to an isolated page; yield the address."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, target in {
            "js": ROOT / "js",
            "wllama": wllama,
            "model.gguf": model,
            "wasm_speed.mjs": CLIENT,
        }.items():
            if target is not None:
                (root / name).symlink_to(target.resolve())
        (root / "index.html").write_text("<!doctype html><title>speed</title><link rel=icon href=data:,>", "utf-8")
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Isolated, directory=folder))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Isolated(SimpleHTTPRequestHandler):
    """Serves a folder to a page that may share memory with workers."""

    extensions_map: ClassVar[dict[str, str]] = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def end_headers(self) -> None:
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    main()
