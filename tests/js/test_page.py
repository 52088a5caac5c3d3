"""The page that verifies receipts, in Chromium, opened from the disk: verdicts, bad files, keyboard, widths, axe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import intact
from intact._base.markup import verify_page
from intact.cli.app import app
from intact.receipts.opening import choose_layers, commit, open_layers
from intact.serve import app as app_module
from js.constrained import Constrained, other_token
from support.browser import browser, complaints, launched, overflow
from support.modules import load
from support.serving import running
from support.tiny import write_tiny

pytestmark = pytest.mark.slow
RECEIPTS = Path(__file__).parents[2] / "conformance" / "receipts"
KEPT = {one["file"]: one for one in json.loads((RECEIPTS / "verdicts.json").read_text("utf-8"))["files"]}
MODEL = RECEIPTS / "model.gguf"
WAIT = 60_000  # milliseconds
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the page by its command; return its address on the disk."""
    folder = tmp_path_factory.mktemp("page")
    done = CliRunner().invoke(app, ["page", "--out", str(folder), "--wasm", str(package / "dist" / "intact.wasm")])
    assert done.exit_code == 0, done.output
    return (folder / "index.html").as_uri()


@pytest.fixture
def opened(chromium: Any, address: str) -> Iterator[Open]:
    """Give a function that opens the page; nothing is said in its console, and nothing is asked of anybody."""
    contexts, said, asked = [], [], []

    def open_page(before: str | None = None, **settings: Any) -> Any:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        said.append(complaints(page))
        page.on("request", lambda request: asked.append(request.url))
        if before is not None:
            page.add_init_script(before)
        page.goto(address)
        page.wait_for_function("() => document.getElementById('status').textContent !== 'Starting …'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [words for one in said for words in one] == []
    assert {url.partition("#")[0] for url in asked if not url.startswith(("blob:", "data:"))} == {address}


def give(page: Any, receipt: Path | None, model: Path | None) -> None:
    """Choose files, and wait until nothing is under way."""
    for field, file in (("#receipt-file", receipt), ("#model-file", model)):
        if file is not None:
            page.set_input_files(field, str(file))
            settle(page)


def settle(page: Any) -> None:
    page.wait_for_function(
        "() => document.getElementById('work').hidden && !/…$|%$/.test(document.getElementById('status').textContent)"
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def boxes(page: Any) -> tuple[int, int, list[int]]:
    """Return the numbers of tokens and of those checked, and which are false."""
    false = page.evaluate(
        "() => [...document.querySelectorAll('.token')].flatMap((x, i) => x.matches('.false') ? [i] : [])"
    )
    return page.locator(".token").count(), page.locator(".token.checked").count(), false


def test_a_true_receipt_is_green_token_by_token(opened: Open) -> None:
    page = opened()
    assert page.inner_text("#status") == "Choose a receipt and the model's file."
    give(page, RECEIPTS / "true-chat.receipt", None)
    assert boxes(page) == (12, 0, [])
    assert page.inner_text("#status") == "Choose the model's file."
    give(page, None, MODEL)
    assert page.inner_text("#outcome") == "✓ True"
    assert page.inner_text("#status").startswith("✓ True (12 tokens, ")
    assert boxes(page) == (12, 12, [])
    receipt = json.loads((RECEIPTS / "true-chat.receipt").read_text("utf-8"))
    table = page.inner_text("#digests")
    assert table.count(receipt["model"]["weights"]) == 2
    assert table.count("✓ equal") == 4
    assert "✗" not in table
    texts = page.evaluate("() => [...document.querySelectorAll('.token')].map((x) => x.textContent)")
    assert texts != [str(token) for token in receipt["output"]["tokens"]]


def test_a_few_opened_layers_are_checked(opened: Open, tmp_path: Path) -> None:
    file = write_tiny(tmp_path / "tiny.gguf", context=256, layers=3)
    with intact.load(file, drafter="off") as model:
        asked: dict[str, Any] = {"max_tokens": 20, "temperature": 0.7, "ignore_eos": True, "receipt": True}
        receipt = commit(model, model.generate("Why?", **asked)[0][0].receipt)
        open_layers(model, receipt, "mine", 2).save(tmp_path / "opening")
    receipt.save(tmp_path / "receipt")
    page = opened()
    give(page, tmp_path / "receipt", file)
    assert page.inner_text("#outcome") == "True as far as it was checked"
    assert "commitment" in page.inner_text("#detail")
    page.click("#layers summary")
    page.fill("#nonce", "mine")
    page.set_input_files("#opening-file", str(tmp_path / "opening"))
    settle(page)
    assert page.inner_text("#outcome") == "True as far as it was checked"
    assert "of 3 layers" in page.inner_text("#detail")
    assert boxes(page) == (20, 20, [])
    assert page.is_disabled("#write")  # the model is there in part alone
    chosen = choose_layers("mine", receipt.digest, 3, 2)
    page.fill("#nonce", next(n for n in "abcdefgh" if choose_layers(n, receipt.digest, 3, 2) != chosen))
    page.dispatch_event("#nonce", "change")
    settle(page)
    assert "other layers than the nonce chooses" in page.inner_text("#outcome")
    page.set_input_files("#opening-file", str(file))
    settle(page)
    assert "no opening of a receipt" in page.inner_text("#opening-problem")
    assert overflow(page) == 0


def test_a_constrained_text(opened: Open, constrained: Constrained, tmp_path: Path) -> None:
    path, _, receipts = constrained
    receipts[3].save(tmp_path / "true.receipt")
    other_token(receipts[3]).save(tmp_path / "forged.receipt")
    count = len(receipts[3].output.tokens)
    page = opened()
    give(page, tmp_path / "true.receipt", path)
    assert page.inner_text("#outcome") == "✓ True"
    assert boxes(page) == (count, count, [])
    give(page, tmp_path / "forged.receipt", None)
    assert page.inner_text("#outcome").startswith(f"✗ False at token 3 of {count}")
    assert boxes(page) == (count, 2, [2])


STARTED = "() => document.getElementById('status').textContent.startsWith('Choose')"
OUTCOME = """
async () => {
  const text = (id) => document.getElementById(id).textContent;
  while (!document.getElementById("work").hidden || !/^[✓✗?]/.test(text("status"))) {
    await new Promise((done) => setTimeout(done, 50));
  }
  await new Promise((done) => setTimeout(done, 300)); // a frame, in which the tokens are marked
  const count = (selector) => document.querySelectorAll(selector).length;
  return [text("outcome"), count(".token.checked"), count(".token.false")];
}
"""


def test_firefox_comes_to_the_same_verdicts(
    address: str, in_firefox: Callable[..., tuple[Any, list[str]]], constrained: Constrained, tmp_path: Path
) -> None:
    """The page from the disk: a true and a forged receipt, one of another model, and one under a constraint."""
    path, _, receipts = constrained
    receipts[2].save(tmp_path / "constrained.receipt")
    cases = [
        (RECEIPTS / "true-chat.receipt", MODEL, "✓ True", 12, 0),
        (RECEIPTS / "token-5.receipt", MODEL, "✗ False at token 6 of 12", 5, 1),
        (RECEIPTS / "other-weights.receipt", MODEL, "? Cannot be verified. The receipt is about another model", 0, 0),
        (tmp_path / "constrained.receipt", path, "✓ True", len(receipts[2].output.tokens), 0),
    ]
    for receipt, model, outcome, checked, false in cases:
        files = {"#receipt-file": receipt, "#model-file": model}
        found, said = in_firefox(address, OUTCOME, None, files=files, ready=STARTED)
        assert found[0].startswith(outcome), (receipt, found)
        assert found[1:] == [checked, false]
        assert said == []


def test_the_first_false_token_of_a_forged_receipt_is_named(opened: Open) -> None:
    """Forged tokens with a chain that covers them or not, forged requests: all that this page can run."""
    names = [name for name, one in KEPT.items() if one["what"] in ("token", "hidden state") and name[:4] != "run-"]
    others = {
        "other-profile.receipt",
        "token-beyond.receipt",
    }  # another arithmetic, and a token that no step is needed for
    assert others < set(names)
    page = opened()
    give(page, None, MODEL)
    for name in sorted(set(names) - others):
        position = KEPT[name]["position"]
        give(page, RECEIPTS / name, None)
        assert page.inner_text("#outcome").startswith(f"✗ False at token {position + 1} of "), name
        _, checked, false = boxes(page)
        assert (checked, false) == (position, [position]), name


def test_receipts_of_one_file_are_counted_and_chosen(opened: Open, tmp_path: Path) -> None:
    names = ("token-5.receipt", "true-greedy.receipt", "other-weights.receipt", "format-03.receipt")
    file = tmp_path / "several.receipts"
    file.write_bytes(b"".join((RECEIPTS / name).read_bytes().removesuffix(b"\n") + b"\n" for name in names))
    page = opened()
    give(page, file, MODEL)
    assert page.inner_text("#status") == "1 true, 1 false, 2 that cannot be verified."
    assert page.inner_text("#outcome").startswith("✗ False at token 6")
    page.select_option("#which", "1")
    assert page.inner_text("#outcome") == "✓ True"
    page.select_option("#which", "2")
    assert "another model than this file" in page.inner_text("#outcome")
    assert "✗ differs" in page.inner_text("#digests")


def test_files_that_cannot_be_used_are_named(opened: Open, tmp_path: Path) -> None:
    """Truncated and hostile models, what is no receipt: plain words, and the page goes on."""
    page = opened()
    data = MODEL.read_bytes()
    cases = ((b"", "truncated"), (b"PK\3\4" + data[4:], "expected a GGUF file"), (data[: len(data) // 2], "truncated"))
    more = ((data[:1000], "which is all the file has room for"), (data[:8] + b"\xff" * 8 + data[16:], "tensors"))
    for number, (content, words) in enumerate((*cases, *more)):
        broken = tmp_path / f"broken-{number}.gguf"
        broken.write_bytes(content)
        give(page, RECEIPTS / "true-greedy.receipt", broken)
        assert "The model's file cannot be used" in page.inner_text("#outcome")
        assert words in page.inner_text("#model-problem")
    broken.write_bytes(data)
    give(page, RECEIPTS / "true-chat.receipt", None)
    assert "changed, moved or removed: choose it again" in page.inner_text("#model-problem")
    for number, (content, words) in enumerate(
        ((b"", "the file is empty"), (b"\xff\xfe", "not valid JSON"), (b'{"a":' * 9000, "not valid JSON"))
    ):
        file = tmp_path / f"broken-{number}.receipt"
        file.write_bytes(content)
        page.set_input_files("#receipt-file", str(file))
        settle(page)
        assert words in page.inner_text("main")
        assert "✓ True" not in page.inner_text("main")
    give(page, RECEIPTS / "true-greedy.receipt", MODEL)
    assert page.inner_text("#outcome") == "✓ True"


def test_files_can_be_dropped(opened: Open) -> None:
    page = opened()
    for target, file in (("#receipt-drop", RECEIPTS / "true-chat.receipt"), ("#model-drop", MODEL)):
        make = """({ name, bytes }) => {
          const given = new DataTransfer();
          given.items.add(new File([new Uint8Array(bytes)], name));
          return given;
        }"""
        given = page.evaluate_handle(make, {"name": file.name, "bytes": list(file.read_bytes())})
        page.dispatch_event(target, "drop", {"dataTransfer": given})
        settle(page)
    assert page.inner_text("#outcome") == "✓ True"
    assert page.inner_text("#model-state").startswith("model.gguf, ")


def test_markup_in_a_receipt_stays_text(opened: Open, tmp_path: Path) -> None:
    receipt = json.loads((RECEIPTS / "true-chat.receipt").read_text("utf-8"))
    receipt["model"]["name"] = "<img src=x onerror=alert(1)>"
    file = tmp_path / "a.receipt"
    file.write_text(json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")
    page = opened()
    give(page, file, MODEL)
    assert "<img src=x onerror=alert(1)>" in page.inner_text("#asked")
    assert page.locator("img").count() == 0
    assert page.inner_text("#outcome").startswith("✗ False at token 1 of 12")  # the header is another


def test_a_long_receipt_does_not_freeze_the_page(opened: Open, tmp_path: Path) -> None:
    """Of 20,000 tokens 2,000 are shown; frames are drawn while the worker reads."""
    receipt = json.loads((RECEIPTS / "true-greedy.receipt").read_text("utf-8"))
    count = 20_000
    receipt["output"]["tokens"] = [1] * count
    receipt["output"]["logprobs"] = None
    receipt["chain"] = "A" * (count * 32 * 4 // 3 + 1)
    receipt["chain"] = receipt["chain"][: -(-count * 32 * 4 // 3)]
    file = tmp_path / "long.receipt"
    file.write_text(json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")
    page = opened()
    give(page, file, MODEL)
    assert page.locator(".token").count() == 2000
    assert "18,000 more tokens" in page.inner_text("#more")
    assert "longer than this model's context" in page.inner_text("#outcome")


def test_a_reload_begins_anew(opened: Open) -> None:
    page = opened()
    give(page, RECEIPTS / "true-greedy.receipt", MODEL)
    page.reload()
    page.wait_for_function("() => document.getElementById('status').textContent.startsWith('Choose')")
    assert page.locator(".token").count() == 0
    give(page, RECEIPTS / "true-greedy.receipt", MODEL)
    assert page.inner_text("#outcome") == "✓ True"


IN_WORKER = """
const Real = Blob;
window.Blob = class extends Real {
  constructor(parts, options) { super([%r, ...parts], options); }
};
"""


def test_a_browser_without_simd_is_told(opened: Open) -> None:
    refuse = "WebAssembly.compile = async () => { throw new WebAssembly.CompileError('Wasm SIMD unsupported'); };"
    page = opened(IN_WORKER % refuse)
    assert "needs WebAssembly with SIMD" in page.inner_text("#status")


def test_a_worker_that_does_not_start_is_told(opened: Open) -> None:
    page = opened(IN_WORKER % "throw new Error('no workers today');")
    assert "the worker ended" in page.inner_text("#status")


def test_memory_that_is_refused_is_told(chromium: Any, address: str) -> None:
    """A browser that gives a module 16 MB."""
    with launched(chromium.browser_type, "--js-flags=--wasm-max-mem-pages=256") as small:
        page = small.new_page()
        page.set_default_timeout(WAIT)
        page.goto(address)
        page.wait_for_function("() => document.getElementById('status').textContent !== 'Starting …'")
        give(page, RECEIPTS / "true-greedy.receipt", MODEL)
        assert "not enough memory" in page.inner_text("#status")
        assert "close other tabs" in page.inner_text("#model-problem")


def test_work_can_be_cancelled(opened: Open, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf", context=1000)
    page = opened()
    give(page, None, model)
    page.fill("#prompt", "a")  # 884 tokens follow
    page.fill("#max-tokens", "900")
    page.fill("#temperature", "1.5")
    page.fill("#seed", "1")
    page.uncheck("#as-chat")
    page.click("#write")
    page.evaluate(
        """() => new Promise((done) => {
          const written = document.getElementById("written");
          new MutationObserver((_, observer) => {
            observer.disconnect();
            document.getElementById("stop").click();
            done();
          }).observe(written, { childList: true });
        })"""
    )
    page.wait_for_function("() => document.getElementById('try-state').textContent === 'Stopped.'")
    length = len(page.inner_text("#written"))
    assert page.is_enabled("#write")
    page.click("#write")
    page.wait_for_function("() => / a second/.test(document.getElementById('try-state').textContent)")
    assert page.inner_text("#try-state").startswith("884 tokens behind")
    assert length < len(page.inner_text("#written"))


def test_a_prompt_gives_the_text_of_the_python_package(opened: Open, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf")
    wanted = intact.load(model).generate("Why is the sky blue?", temperature=0.8, seed=7, max_tokens=20)[0][0].text
    page = opened()
    give(page, None, model)
    page.uncheck("#as-chat")
    page.fill("#temperature", "0.80")
    page.fill("#seed", "007")
    page.fill("#max-tokens", "20")
    page.click("#write")
    page.wait_for_function("() => / a second/.test(document.getElementById('try-state').textContent)")
    assert page.evaluate("() => document.getElementById('written').textContent") == wanted
    page.fill("#temperature", "warm")
    page.press("#temperature", "Enter")
    assert page.inner_text("#try-problem") == 'the temperature must be a number from 0 to 999, like 0.8, got "warm"'


def test_the_page_is_used_by_the_keyboard_alone(opened: Open) -> None:
    page = opened()
    reached, choosers = [], []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # early: the browser learns of it in its own time
    for _ in range(30):
        page.keyboard.press("Tab")
        name = page.evaluate("() => document.activeElement.id")
        reached.append(name)
        for field, file in (("receipt-file", RECEIPTS / "token-5.receipt"), ("model-file", MODEL)):
            if name == field and reached.count(name) == 1:
                page.keyboard.press("Enter")
                for _ in range(WAIT // 50):
                    if not choosers:
                        page.wait_for_timeout(50)
                choosers.pop().set_files(str(file))
                settle(page)
        if name == "write":
            page.keyboard.press("Enter")
            page.wait_for_function("() => / a second/.test(document.getElementById('try-state').textContent)")
            break
    assert reached[-1] == "write"
    assert {"receipt-file", "model-file", "tokens", "set-file", "prompt", "temperature", "seed"} <= set(reached)
    assert page.inner_text("#outcome").startswith("✗ False at token 6")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_issue(opened: Open, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = opened(viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)

    def check() -> None:
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
        assert overflow(page) <= 0

    check()
    for name in ("true-chat.receipt", "token-5.receipt", "other-weights.receipt"):
        give(page, RECEIPTS / name, MODEL)
        check()


def test_the_contract_is_computed_by_the_page(opened: Open, tmp_path: Path) -> None:
    """A conformance set gives the contract's digests in the page; one changed bit, and it says that they differ."""
    load("scripts/js_conformance.py").write(tmp_path / "conformance.bin")
    data = bytearray((tmp_path / "conformance.bin").read_bytes())
    data[-(-(4 + int.from_bytes(data[:4], "little")) // 64) * 64] ^= 1
    (tmp_path / "changed.bin").write_bytes(data)
    page = opened()
    page.set_default_timeout(600_000)
    for name, words in (("conformance", "computes what the contract says"), ("changed", "It does not: 1 case")):
        page.set_input_files("#set-file", str(tmp_path / f"{name}.bin"))
        page.wait_for_function("words => document.getElementById('set-state').textContent.includes(words)", arg=words)
    assert "✗" in page.inner_text("#contract")
    page.set_input_files("#set-file", str(RECEIPTS / "true-chat.receipt"))
    page.wait_for_function("() => /no conformance set/.test(document.getElementById('set-state').textContent)")


def test_a_server_hands_it_out(chromium: Any, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page at `/verify` of `intact serve` verifies a receipt, and asks the server for nothing but itself."""
    monkeypatch.setattr(verify_page, "WASM", package / "dist" / "intact.wasm")
    app_module._verification_page.cache_clear()
    model, file = write_tiny(tmp_path / "tiny.gguf"), tmp_path / "a.receipt"
    intact.load(model).generate("Once", max_tokens=5, receipt=True)[0][0].receipt.save(file)
    with running({"tiny": model}) as server:
        page = chromium.new_page()
        said, asked = complaints(page), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server.url}/verify")
        give(page, file, model)
        assert page.inner_text("#outcome") == "✓ True"
        threads = min(page.evaluate("() => navigator.hardwareConcurrency"), 32)  # it is isolated
        assert page.inner_text("#model-state").endswith(f" {threads} thread{'s' * (threads > 1)}.")
        assert [url for url in asked if not url.startswith(("blob:", "data:"))] == [f"{server.url}/verify"]
        assert said == []
        page.close()


def test_the_page_says_what_it_does_to_a_screen_reader(opened: Open) -> None:
    page = opened()
    assert page.get_by_role("status").first.inner_text() == "Choose a receipt and the model's file."
    for label in ("Receipt", "Model", "Prompt", "Temperature", "Seed", "Most tokens", "Conformance set"):
        assert page.get_by_label(label, exact=False).count() >= 1
    assert page.get_by_role("group", name="Tokens of the answer").count() == 0  # hidden until there are some
    give(page, RECEIPTS / "token-5.receipt", MODEL)
    assert page.get_by_role("group", name="Tokens of the answer").count() == 1
    assert page.get_by_role("status").first.inner_text().startswith("✗ False at token 6 of 12")
