"""The package in a real browser: the same digests, and a receipt verified by a model that is read by ranges."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from intact._base.markup.verify_page import ISOLATION
from intact.measure.conformance import EXPECTED
from js.constrained import Constrained, other_constraint, other_token
from support.browser import browser, complaints
from support.modules import load

RECEIPTS = Path(__file__).parents[2] / "conformance" / "receipts"
SCRIPT = """
async ({ model, receipts }) => {
  const { BlobSource, ConformanceSet, Core, Model, UrlSource, parseReceipt, runConformance, verify } =
    await import("/src/index.js");
  const wasm = await WebAssembly.compile(await (await fetch("/dist/intact.wasm")).arrayBuffer());
  const set = new ConformanceSet(await (await fetch("/dist/conformance.bin")).arrayBuffer());
  const core = await Core.load(wasm);
  const { digests } = runConformance(core, set, { tier: "wasm" });
  const verdicts = [];
  const blob = await (await fetch(model)).blob();
  for (const source of [await UrlSource.open(model), new BlobSource(blob)]) {
    const loaded = await Model.load(source, { wasm });
    for (const receipt of receipts) {
      const { outcome, what, position } = await verify(loaded, parseReceipt(new TextEncoder().encode(receipt)));
      verdicts.push([outcome, what, position]);
    }
  }
  return { digests, verdicts };
}
"""

WORKER = """
async ({ model, receipts, threads }) => {
  const { Model, UrlSource, WorkerEngine, BlobSource, parseReceipt, startWorker, verify } =
    await import("/src/index.js");
  const wasm = await (await fetch("/dist/intact.wasm")).arrayBuffer();
  const here = await Model.load(await UrlSource.open(model), { wasm });
  const engine = await WorkerEngine.start({ wasm, worker: startWorker(), threads });
  const seen = [];
  const there = await engine.load(await UrlSource.open(model), { progress: (done, total) => seen.push([done, total]) });
  const differ = [];
  const same = (name, a, b) => JSON.stringify(a) === JSON.stringify(b) || differ.push([name, a, b]);
  same("digests", here.digests, there.digests);
  same("numerics", here.numerics, there.numerics);
  same("progress", seen.at(-1), [seen.at(-1)[1], seen.at(-1)[1]]);
  const tokens = here.tokenizer.encode("Why is the sky blue?");
  same("encode", tokens, await there.encode("Why is the sky blue?"));
  const parameters = { temperature: "1", seed: "7", max_tokens: 24, ignore_eos: true };
  same("text", here.generate(tokens, parameters), await there.generate(tokens, parameters));
  const read = await engine.receipts(new Blob(receipts.map((text) => text + "\\n")));
  for (const [i, text] of receipts.entries()) {
    const receipt = parseReceipt(new TextEncoder().encode(text));
    same("receipt", receipt, read[i].receipt);
    const wanted = await verify(here, receipt);
    for (const rows of [1, 5, 128]) {
      const checked = [];
      same("verdict", wanted, await there.verify(receipt, { rows, progress: (n) => checked.push(n) }));
      same("checked", checked, Array.from({ length: wanted.checked }, (_, n) => n + 1));
    }
  }
  const failure = async (act) => {
    try {
      await act();
      return "nothing";
    } catch (error) {
      return error.name;
    }
  };
  const stopped = new AbortController();
  let drawn = 0;
  const cancelled = await failure(async () => {
    for await (const _ of there.stream(tokens, { ...parameters, max_tokens: 400 }, undefined, stopped)) {
      if (++drawn === 3) stopped.abort();
    }
  });
  for await (const _ of there.stream(tokens, { ...parameters, max_tokens: 400 })) break;
  same("after", here.generate(tokens, parameters), await there.generate(tokens, parameters));
  const loading = new AbortController();
  const empty = await failure(() => engine.load(new BlobSource(new Blob([]))));
  const whole = new BlobSource(await (await fetch(model)).blob());
  const stops = { progress: () => loading.abort(), signal: loading.signal };
  const unloaded = await failure(() => engine.load(whole, stops));
  const absent = await failure(() => there.encode("a"));
  const waiting = failure(() => engine.selftest(new Blob(["x"])));
  engine.close();
  const closed = [await waiting, await failure(() => engine.receipts(new Blob()))];
  return { differ, cancelled, drawn, empty, unloaded, absent, closed, threads: engine.threads };
}
"""


class Ranges(SimpleHTTPRequestHandler):
    """Serves a folder, and parts of files as `Range: bytes=A-B` asks for them."""

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None:
            super().do_GET()
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        begin, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - begin))
        self.end_headers()
        self.wfile.write(data[begin : last + 1])

    def end_headers(self) -> None:
        for name, value in self.server.headers.items():  # type: ignore[attr-defined]
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path, headers: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Serve a folder, with headers; give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(folder)))
    server.headers = headers  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Evaluate = Callable[[str, str, Any], tuple[Any, list[str]]]


@pytest.fixture(params=["chromium", "firefox"])
def evaluate(request: pytest.FixtureRequest) -> Iterator[Evaluate]:
    """Give a function that evaluates JavaScript in a page of a browser: its result, and what the console said."""
    if request.param == "firefox":
        yield request.getfixturevalue("in_firefox")
        return
    with browser() as chromium:

        def in_chromium(address: str, script: str, given: Any) -> tuple[Any, list[str]]:
            page = chromium.new_page()
            said = complaints(page)
            page.set_default_timeout(600_000)
            page.goto(address)
            return page.evaluate(script, given), said

        yield in_chromium


def prepared(package: Path, folder: Path, model: Path) -> Path:
    """Fill a folder to serve: the package, a model's file, and an empty page."""
    for name in ("src", "dist"):
        (folder / name).symlink_to(package / name)
    (folder / "model.gguf").symlink_to(model)
    (folder / "index.html").write_text("<!doctype html><title>intact</title><link rel=icon href=data:,>")
    return folder


@pytest.mark.slow
def test_a_browser_computes_the_same(package: Path, tmp_path: Path, evaluate: Evaluate) -> None:
    """Digests of the contract, and verdicts on a true and two forged receipts, without a window."""
    load("scripts/js_conformance.py").write(package / "dist" / "conformance.bin")
    kept = {one["file"]: one for one in json.loads((RECEIPTS / "verdicts.json").read_text("utf-8"))["files"]}
    names = ["true-chat.receipt", *(n for n, one in kept.items() if one["what"] in ("token", "hidden state"))][:3]
    receipts = [(RECEIPTS / name).read_text("utf-8").removesuffix("\n") for name in names]
    with served(prepared(package, tmp_path, RECEIPTS / "model.gguf")) as address:
        found, said = evaluate(address, SCRIPT, {"model": "/model.gguf", "receipts": receipts})
    assert found["digests"] == {name: EXPECTED[name] for name in ("operations", "layouts", "profiles")}
    wanted = [[kept[name]["outcome"], kept[name]["what"], kept[name]["position"]] for name in names]
    assert found["verdicts"] == [*wanted, *wanted]
    assert said == []


VERDICTS = """
async ({ receipts }) => {
  const { BlobSource, WorkerEngine, startWorker } = await import("/src/index.js");
  const wasm = await (await fetch("/dist/intact.wasm")).arrayBuffer();
  const engine = await WorkerEngine.start({ wasm, worker: startWorker() });
  const model = await engine.load(new BlobSource(await (await fetch("/model.gguf")).blob()));
  const verdicts = [];
  for (const { receipt } of await engine.receipts(new Blob(receipts))) {
    const { outcome, what, position } = await model.verify(receipt);
    verdicts.push([outcome, what, position]);
  }
  engine.close();
  return verdicts;
}
"""


@pytest.mark.slow
def test_a_browser_verifies_constrained_texts(
    package: Path, constrained: Constrained, tmp_path: Path, evaluate: Evaluate
) -> None:
    """True receipts of each kind of constraint, greedy and drawn, and each with a token and a constraint forged."""
    path, _, receipts = constrained
    all_three = (*receipts, *map(other_token, receipts), *map(other_constraint, receipts))
    lines = [receipt.encode().decode() + "\n" for receipt in all_three]
    with served(prepared(package, tmp_path, path)) as address:
        found, said = evaluate(address, VERDICTS, {"receipts": lines})
    count = len(receipts)
    assert found[:count] == [["true", None, None]] * count
    assert found[count : 2 * count] == [["false", "token", 2]] * count
    assert found[2 * count :] == [["false", "hidden state", 0]] * count
    assert said == []


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_a_worker_gives_the_same(package: Path, tmp_path: Path, threads: int) -> None:
    """Tokens, texts and verdicts of the engine in a worker, however many rows a step has; and what cancels it.

    Several threads are those of a page that is isolated.
    """
    prepared(package, tmp_path, RECEIPTS / "model.gguf")
    names = ("true-chat.receipt", "token-11.receipt", "header-seed.receipt", "other-weights.receipt", "finish.receipt")
    receipts = [(RECEIPTS / name).read_text("utf-8").removesuffix("\n") for name in names]
    headers = ISOLATION if threads > 1 else {}
    with browser() as chromium, served(tmp_path, headers) as address:
        page = chromium.new_page()
        said = complaints(page)
        page.set_default_timeout(600_000)
        page.goto(address)
        found = page.evaluate(WORKER, {"model": "/model.gguf", "receipts": receipts, "threads": threads})
    assert found["threads"] == threads
    assert found["differ"] == []
    assert found["cancelled"] == "AbortError"
    assert 3 <= found["drawn"] < 400
    assert found["empty"] == "InputError"
    assert found["unloaded"] == "AbortError"
    assert found["absent"] == "InputError"
    assert found["closed"] == ["AbortError", "AbortError"]
    assert said == []


STORED = """
async ({ keep, clear }) => {
  const { Store, UrlSource, WorkerEngine, startWorker } = await import("/src/index.js");
  if (clear) await Store.clear();
  const wasm = await (await fetch("/dist/intact.wasm")).arrayBuffer();
  const engine = await WorkerEngine.start({ wasm, worker: startWorker(), threads: 1 });
  const model = await engine.load(await UrlSource.open("/model.gguf", { keep }));
  engine.close();
  return model.digests.weights;
}
"""


@pytest.mark.slow
def test_a_model_that_is_kept_is_read_from_the_browser(package: Path, tmp_path: Path) -> None:
    """Parts that were read once do not travel again; those of another version do, and those beyond the limit."""
    for name in ("src", "dist"):
        (tmp_path / name).symlink_to(package / name)
    model = tmp_path / "model.gguf"
    model.write_bytes((RECEIPTS / "model.gguf").read_bytes())
    (tmp_path / "index.html").write_text("<!doctype html><title>intact</title><link rel=icon href=data:,>")
    headers: dict[str, str] = {"ETag": "1"}
    with browser() as chromium, served(tmp_path, headers) as address:
        page = chromium.new_page()
        page.set_default_timeout(600_000)
        asked: list[str] = []
        page.context.on("request", lambda request: asked.append(request.headers.get("range", "")))

        def load(keep: Any = True, clear: bool = False) -> tuple[str, int]:
            page.goto(address)
            asked.clear()
            weights: str = page.evaluate(STORED, {"keep": keep, "clear": clear})
            return weights, sum(bool(wanted) for wanted in asked)

        weights, whole = load(keep=False)
        assert whole > 10
        first, read = load()
        again, reread = load()
        assert (first, again) == (weights, weights)
        assert 10 < read <= whole  # vectors are read again where they are used
        assert reread == 2  # the page's own opening of the address, and the worker's
        headers["ETag"] = "2"
        assert load() == (weights, read)
        assert load(clear=True) == (weights, read)
        small = 100_000  # less than the model: some parts are kept, the others travel again
        assert load(keep=small, clear=True)[0] == weights
        assert 2 < load(keep=small)[1] < read
        headers["ETag"] = "3"  # the other version's parts make room
        assert load(keep=small)[0] == weights
        assert 2 < load(keep=small)[1] < read
        assert load(keep=False) == (weights, whole)


THREADS = """
async () => {
  const { UrlSource, WorkerEngine, startWorker } = await import("/src/index.js");
  const wasm = await (await fetch("/dist/intact.wasm")).arrayBuffer();
  const found = [crossOriginIsolated];
  for (const threads of [undefined, 2]) {
    const engine = await WorkerEngine.start({ wasm, worker: startWorker(), threads });
    found.push(engine.threads);
    try {
      found.push((await engine.load(await UrlSource.open("/model.gguf"))).context > 0);
    } catch (error) {
      found.push(`${error.name}: ${error.message}`);
    }
    engine.close();
  }
  return found;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_isolated", [False, True])
def test_threads_are_those_that_a_page_may_have(package: Path, tmp_path: Path, is_isolated: bool) -> None:
    """By default as many as the machine has if the page is isolated, else one; to ask for more is an error."""
    prepared(package, tmp_path, RECEIPTS / "model.gguf")
    with browser() as chromium, served(tmp_path, ISOLATION if is_isolated else {}) as address:
        page = chromium.new_page()
        page.set_default_timeout(600_000)
        page.goto(address)
        has, *found = page.evaluate(THREADS)
        machine = page.evaluate("() => navigator.hardwareConcurrency")
    assert has == is_isolated
    if is_isolated:
        assert found == [min(machine, 32), True, 2, True]
    else:
        assert found[:3] == [1, True, 2]
        assert found[3].startswith("CoreError: 2 threads need a worker in an isolated page")
