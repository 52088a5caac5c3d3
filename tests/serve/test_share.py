"""A shared conversation: one HTML file that shows its trees and verifies its receipts without a server."""

import base64
import hashlib
import json
import re
import shutil

import httpx
import pytest

from intact._base.markup import verify_page
from intact.receipts.document import Receipt
from intact.serve import app, shared_page
from intact.solving.receipts.document import RunReceipt
from support.browser import browser, complaints, overflow
from support.tiny import write_tiny

QUESTION = "What is 17 + 5?"
HOSTILE = "</script><img src=x onerror=alert(1)><!-- $\\href{javascript:alert(2)}{x}$"
MODULE = verify_page.folder() / verify_page.WASM


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the JavaScript package whose module is empty: enough for all checks that need no model."""
    copy = tmp_path / "js"
    shutil.copytree(verify_page.folder(), copy, ignore=shutil.ignore_patterns("dist", "node_modules"))
    (copy / "dist").mkdir()
    (copy / verify_page.WASM).write_bytes(b"\0asm\1\0\0\0")
    monkeypatch.setattr(verify_page, "_INSTALLED", copy)
    shared_page.template.cache_clear()
    yield copy
    shared_page.template.cache_clear()


def request(server, path, body):
    return httpx.post(server.url + path, json=body)


@pytest.fixture(scope="module")
def messages(server):
    """A question with an answer and a question with a search, both with receipts, as the page shares them."""
    asked = {"role": "user", "content": QUESTION, "parent": None, "id": "a"}
    found = []
    for number, method in enumerate([None, "best_of_n"]):
        chosen = {"method": method, "n": 3} if method else {}
        body = {"model": "tiny", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, "seed": 1}
        answer = request(server, "/v1/chat/completions", {**body, "intact": {"receipt": True, **chosen}}).json()
        choice = answer["choices"][0]
        receipt = choice["receipt"]
        texts = request(server, "/v1/receipts/texts", {"receipt": receipt}).json()["data"] if method else []
        node = {"id": f"b{number}", "parent": "a", "role": "assistant", "content": choice["message"]["content"]}
        found += [asked | {"texts": []}, node | {"method": method, "receipt": receipt, "texts": texts}]
    return found


def write(path, messages, title="A sum"):
    document = {"format": shared_page.FORMAT, "version": shared_page.VERSION, "title": title, "messages": messages}
    path.write_text(shared_page.fill(document), "utf-8")
    return path


def opened(context, path):
    """Open a shared file; return the page once it has checked what it can check without a model."""
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_function("() => !document.getElementById('status').textContent.startsWith('Reading')")
    return page


def points(page):
    return page.locator(".checks li").all_inner_texts()


def test_the_file_holds_everything_and_its_policy_allows_nothing_else(package):
    text = shared_page.fill({"format": shared_page.FORMAT, "title": HOSTILE, "messages": []})
    assert HOSTILE not in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert "unsafe-inline" not in policy
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r'(?:src|href)="(?!#|data:,")', text.partition("<script>")[0])


def test_the_server_gives_the_empty_file_or_says_what_is_missing(package, server):
    answer = httpx.get(server.url + "/page/shared.html")
    assert answer.text == shared_page.template()
    assert answer.text.count(shared_page.PLACE) == 1
    assert answer.headers["content-security-policy"] == app.POLICY
    (package / verify_page.WASM).unlink()
    shared_page.template.cache_clear()
    answer = httpx.get(server.url + "/page/shared.html")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_installed")
    assert str(package.parent) not in answer.text


def test_the_receipts_of_a_run_s_texts_are_those_that_its_entries_commit_to(server, messages):
    receipt = messages[3]["receipt"]
    assert [one["entry"] for one in messages[3]["texts"]] == [0, 1, 2]
    for one in messages[3]["texts"]:
        entry, made = receipt["entries"][one["entry"]], Receipt.from_document(one["receipt"])
        assert made.header.digest.hex() == entry["header"]
        verdict = request(server, "/v1/verify", {"receipt": one["receipt"]}).json()
        assert (verdict["outcome"], verdict["checked"]) == ("true", made.count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one["result"].update(answer="41"), "its root does not match its entries"),
        (lambda one: one.update(format="intact-receipt"), "receipt"),
        (lambda one: one["models"][0].update(weights="0" * 64), "weights"),
    ],
)
def test_a_run_that_is_not_this_method_s_has_no_receipts_of_texts(server, messages, change, message):
    receipt = json.loads(json.dumps(messages[3]["receipt"]))
    change(receipt)
    answer = request(server, "/v1/receipts/texts", {"receipt": receipt})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_the_receipt_of_an_answer_has_no_receipts_of_texts(server, messages):
    answer = request(server, "/v1/receipts/texts", {"receipt": messages[1]["receipt"]})
    assert answer.status_code == 400
    assert "receipt of a run" in answer.json()["error"]["message"]


@pytest.mark.slow
def test_the_page_saves_a_file_that_shows_the_tree_and_checks_its_digests(package, chromium, server, tmp_path):
    context = chromium.new_context(accept_downloads=True)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    page.select_option("#method", "best_of_n")
    page.fill("#n", "3")
    page.evaluate("document.getElementById('max_tokens').value = 8")
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    page.wait_for_selector("article.assistant:not([aria-busy]) button.receipt")
    with page.expect_download() as saved:
        page.click("#share")
    assert saved.value.suggested_filename == "what-is-17-5.html"
    path = tmp_path / "shared.html"
    saved.value.save_as(path)
    requests = []
    context.on("request", lambda one: requests.append(one.url))
    shared = opened(context, path)
    assert shared.inner_text("#status").startswith("The digests hold")
    assert "✓ The root is the digest of these entries." in points(shared)
    assert "✓ The requests of its 3 texts are those that the receipt commits to." in points(shared)
    assert shared.locator(".tree > li").count() == 3
    assert shared.locator(".tree .winner").count() == 1
    assert overflow(shared) <= 0
    assert [url for url in requests if not url.startswith("file:")] == []
    with shared.expect_download() as kept:
        shared.click("text=Save receipt")
    kept.value.save_as(tmp_path / "run.receipt")
    assert RunReceipt.parse((tmp_path / "run.receipt").read_bytes().rstrip(b"\n")).header.method == "best_of_n"
    context.close()


@pytest.mark.parametrize(
    ("change", "point"),
    [
        (lambda found: found[3]["receipt"]["entries"][1].update(chain="A"), "✗ The root is not the digest"),
        (lambda found: found[3]["receipt"]["result"].update(answer="41"), "✗ The root is not the digest"),
        (lambda found: found[3].update(content="something else"), "? The text shown and the receipt's have incomplete"),
        (lambda found: found[1].update(content="something else"), "✗ The text shown is not the receipt's."),
        (lambda found: found[2].update(content="What is 2?"), "✗ The question shown is not the receipt's."),
        (lambda found: found[3]["texts"][1]["receipt"]["request"]["prompt"].append(3), "✗ The request of entry 1"),
        (lambda found: found[3]["texts"].pop(), "? The requests of 1 of 3 texts are not in this file"),
        (lambda found: found[1].pop("receipt"), "? There is no receipt"),
    ],
)
@pytest.mark.slow
def test_a_changed_file_is_found_out_without_the_model(package, chromium, messages, tmp_path, change, point):
    changed = json.loads(json.dumps(messages))
    changed[1]["content"] = changed[1]["receipt"]["output"]["text"] = "An answer."
    change(changed)
    context = chromium.new_context()
    page = opened(context, write(tmp_path / "shared.html", changed))
    assert any(one.startswith(point) for one in points(page)), points(page)
    if point.startswith("✗"):
        assert page.inner_text("#status").startswith("✗")
    context.close()


@pytest.mark.slow
def test_hostile_texts_and_damaged_data_stay_text(package, chromium, messages, tmp_path):
    context = chromium.new_context()
    asked = messages[0] | {"content": HOSTILE}
    page = opened(context, write(tmp_path / "a.html", [asked, messages[1] | {"content": HOSTILE}], HOSTILE))
    said = complaints(page)
    assert page.inner_text("h1") == HOSTILE
    assert page.text_content("article.user .text").startswith(HOSTILE.partition("$")[0])
    assert page.locator("article.user .text math").count() == 1  # the formula is drawn, without its link
    assert page.locator("article :is(img, script, [href])").count() == 0
    damaged = {"receipt": {"format": "intact-run-receipt", "hash": "sha256", "entries": 3}}
    page = opened(context, write(tmp_path / "b.html", [asked, messages[1] | damaged]))
    assert any(one.startswith("✗ The receipt is damaged") for one in points(page))
    page = opened(context, write(tmp_path / "c.html", [asked | {"role": "system"}]))
    assert page.inner_text("#status").startswith("This file is damaged: a message has the role")
    assert said == []
    context.close()


@pytest.mark.skipif(not MODULE.exists(), reason="needs the WebAssembly module: python scripts/wasm.py")
@pytest.mark.slow
def test_the_file_computes_every_token_again_with_the_model_s_file(chromium, messages, tiny_path, tmp_path):
    context = chromium.new_context()
    page = opened(context, write(tmp_path / "shared.html", messages))
    alone = len(messages[1]["receipt"]["output"]["tokens"])
    search = sum(len(entry["output"]["tokens"]) for entry in messages[3]["receipt"]["entries"] if "output" in entry)
    ended = "() => / false|computed again\\./.test(document.getElementById('status').textContent)"
    page.set_input_files("#model-file", tiny_path)
    page.wait_for_function(ended)
    assert page.inner_text("#status").startswith(f"✓ No claim is false, and {alone + search} tokens were")
    assert f"✓ All {alone} tokens were computed again." in points(page)
    assert f"✓ 3 of its texts were computed again, {search} tokens." in points(page)
    assert "✓ The question is in the receipt's prompt." in points(page)
    assert page.locator(".tree summary .true").count() == 3
    changed = json.loads(json.dumps(messages[:2]))
    changed[1]["receipt"]["output"]["tokens"][1] ^= 1
    page = opened(context, write(tmp_path / "changed.html", changed))
    page.set_input_files("#model-file", tiny_path)
    page.wait_for_function(ended)
    assert any(one.startswith(f"✗ ✗ False at token 2 of {alone}") for one in points(page)), points(page)
    other = write_tiny(tmp_path / "other.gguf", "llama", context=1024)
    page.set_input_files("#model-file", other)
    page.wait_for_function("() => /not checked/.test(document.getElementById('status').textContent)")
    assert any("another model than this file" in one for one in points(page)), points(page)
    context.close()
