"""The page at `/` in a real browser: chat, a search that grows, receipts, a phone, a keyboard, a key."""

import json
import re
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from intact.receipts.document import Receipt
from intact.run_receipts.document import RunReceipt
from intact.serve.app import PAGE
from support.browser import browser, complaints, overflow
from support.serving import running

pytestmark = pytest.mark.slow
WAIT = 30_000  # milliseconds
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium, server):
    """The page, ready, with a width that a test may change; nothing is said in its console, nothing asked elsewhere."""
    context = chromium.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    said, asked = complaints(opened), []
    opened.on("request", lambda request: asked.append(urlsplit(request.url)))
    opened.goto(server.url)
    opened.wait_for_selector("#method option:nth-child(30)", state="attached")
    yield opened
    assert said == []
    assert {url.netloc for url in asked if url.scheme != "blob"} == {urlsplit(server.url).netloc}
    context.close()
    server.settle(server.idle)


def ask(page, question, method="", n=None, tokens=12):
    page.select_option("#method", method)
    if n is not None:
        page.fill("#n", str(n))
    page.evaluate("document.getElementById('more').open = true")
    page.fill("#max_tokens", str(tokens))
    page.fill("#question", question)
    page.press("#question", "Enter")


def answered(page, number=1):
    page.wait_for_function(
        "number => document.querySelectorAll('article.assistant:not([aria-busy])').length === number", arg=number
    )


def test_a_conversation_is_that_of_the_interface(page, client):
    ask(page, "What is 17 + 5?")
    answered(page)
    first = page.inner_text("article.assistant .text")
    question = {"role": "user", "content": "What is 17 + 5?"}
    wanted = client.chat.completions.create(model="tiny", messages=[question], max_tokens=12, seed=0)
    assert first == wanted.choices[0].message.content
    ask(page, "And twice that?")
    answered(page, 2)
    messages = [question, {"role": "assistant", "content": first}, {"role": "user", "content": "And twice that?"}]
    wanted = client.chat.completions.create(model="tiny", messages=messages, max_tokens=12, seed=0)
    assert page.locator("article.assistant .text").nth(1).text_content() == wanted.choices[0].message.content
    page.click("#fresh")
    assert page.locator("article").count() == 0


def test_a_receipt_is_kept_and_found_true_and_a_changed_one_false(page, tmp_path):
    ask(page, "What is 17 + 5?")
    with page.expect_download() as kept:
        page.click("a.receipt")
    path = tmp_path / kept.value.suggested_filename
    kept.value.save_as(path)
    receipt = Receipt.parse(path.read_bytes().rstrip(b"\n"))
    assert len(receipt.output.tokens) == 12
    page.set_input_files("#file", path)
    page.wait_for_selector("#verdicts .true")
    assert "these 12 tokens" in page.inner_text("#verdicts li")
    document = json.loads(path.read_text())
    document["output"]["tokens"][4] ^= 1
    (tmp_path / "changed.receipt").write_text(json.dumps(document))
    (tmp_path / "none.receipt").write_text("no receipt")
    page.set_input_files("#file", [tmp_path / "changed.receipt", tmp_path / "none.receipt"])
    page.wait_for_function("() => document.querySelectorAll('#verdicts .wrong').length === 2")
    changed, none = page.locator("#verdicts li").all_inner_texts()[1:]
    assert "false" in changed
    assert "token 4" in changed
    assert "cannot be verified: this is no receipt" in none


def test_the_receipt_of_a_search_is_kept_and_found_true(page, tmp_path):
    ask(page, "What is 17 + 5?", "best_of_n", 3)
    with page.expect_download() as kept:
        page.click("a.receipt")
    path = tmp_path / kept.value.suggested_filename
    kept.value.save_as(path)
    receipt = RunReceipt.parse(path.read_bytes().rstrip(b"\n"))
    assert (receipt.header.method, receipt.count) == ("best_of_n", 36)
    page.set_input_files("#file", path)
    page.wait_for_selector("#verdicts .true")
    assert "these 36 tokens" in page.inner_text("#verdicts li")
    entry = replace(receipt.entries[3], scores=(0.1, 0.2, 0.3))
    changed = RunReceipt.make(receipt.header, (*receipt.entries[:3], entry), receipt.result)
    path.write_bytes(changed.encode() + b"\n")
    page.set_input_files("#file", path)
    page.wait_for_selector("#verdicts .wrong")
    assert "(score, entry 3)" in page.locator("#verdicts li").last.inner_text()


@pytest.mark.parametrize("width", [1100, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_search_is_seen_with_its_winner(page, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    ask(page, "What is 17 + 5?", "best_of_n", 4)
    page.wait_for_selector("article .tree > li")
    answered(page)
    assert page.locator(".tree > li").count() == 4
    assert page.locator(".tree meter").count() == 4
    assert page.locator(".winner").count() == 1
    assert "chosen" in page.inner_text(".winner .state")
    page.focus(".winner summary")
    page.keyboard.press("Enter")
    shown = page.locator(".winner .text")
    assert shown.is_visible()
    assert shown.text_content() == page.text_content("article.assistant > .text")
    assert overflow(page) <= 0


def test_votes_are_counted_and_a_spent_budget_is_told(page):
    ask(page, "What is 17 + 5?", "self_consistency", 3)
    answered(page)
    votes = [float(row.split()[-1]) for row in page.locator(".votes tbody tr").all_inner_texts()]
    assert sum(votes) <= 3
    page.fill("#budget", "20")
    ask(page, "What is 17 + 5?", "self_consistency", 8)
    answered(page, 2)
    assert "the budget was spent" in page.locator(".search").nth(1).inner_text()


def test_a_search_is_stopped_by_escape_and_frees_what_it_held(page, server):
    ask(page, "What is 17 + 5?", "self_consistency", 200, tokens=900)  # seconds on the fastest machine
    page.wait_for_selector("article .tree > li")
    page.keyboard.press("Escape")
    page.wait_for_selector("article [role=alert]")
    assert page.inner_text("article [role=alert]") == "stopped"
    server.settle(server.idle)


def test_what_a_model_writes_is_no_markup(page):
    ask(page, "<img src=x onerror=alert(1)><script>alert(2)</script>")
    answered(page)
    assert page.inner_text("article.user .text").startswith("<img")
    assert page.locator("article img, article script").count() == 0


def test_an_error_is_told_in_the_server_s_words(chromium, server):
    opened = chromium.new_page()
    opened.set_default_timeout(WAIT)
    opened.goto(server.url)
    opened.wait_for_selector("#method option:nth-child(30)", state="attached")
    opened.evaluate("document.getElementById('top_p').value = '5'")
    ask(opened, "What is 17 + 5?")
    opened.wait_for_selector("article .wrong")
    assert "top_p" in opened.inner_text("article .wrong")
    opened.close()


def test_a_key_is_asked_for_once(chromium, tiny_path):
    with running({"tiny": tiny_path}, keys=(KEY,)) as locked:
        opened = chromium.new_page()
        opened.set_default_timeout(WAIT)
        opened.goto(locked.url)
        opened.wait_for_selector("#door[open]")
        opened.fill("#key", KEY)
        opened.keyboard.press("Enter")
        opened.wait_for_selector("#method option:nth-child(30)", state="attached")
        ask(opened, "What is 17 + 5?", tokens=4)
        answered(opened)
        opened.close()


def test_the_keyboard_reaches_everything_and_all_has_a_name(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea')]
            .filter((e) => e.offsetParent && !(e.labels?.length || e.textContent.trim() || e.ariaLabel))
            .map((e) => e.id)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"model", "fresh", "theme", "question", "method", "send", "file"} <= reached


def test_the_policy_lets_it_talk_to_its_own_server_alone(server):
    for path in ("/", "/page/main.js", "/page/style.css", "/page/icon.svg"):
        answer = httpx.get(server.url + path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    for file in PAGE.iterdir():
        elsewhere = re.findall(r"https?://(?!www\.w3\.org/2000/svg)\S+", file.read_text())
        assert elsewhere == []
