"""Work on conversations in the page: titles, thoughts, answers side by side, search, shortcuts, token alternatives."""

import json

import pytest

from support.browser import browser, complaints, overflow
from support.serving import running

HOSTILE = "<img src=x onerror=alert(1)>"
QUESTION = "What is 17 + 5?"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


def ready(chromium, server, width=1200, **more):
    context = chromium.new_context(viewport={"width": width, "height": 900}, **more)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    page.evaluate("document.getElementById('max_tokens').value = 8")
    return page


@pytest.fixture
def page(chromium, server):
    opened = ready(chromium, server)
    said = complaints(opened)
    yield opened
    assert said == []
    opened.context.close()
    server.settle(server.idle)


def ask(page, question=QUESTION, answers=1):
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.wait_for_function(
        "number => document.querySelectorAll('article.assistant:not([aria-busy])').length === number", arg=answers
    )


def reply(page, *deltas, **choice):
    """Have the server answer these deltas, whatever is asked."""

    def answer(route):
        chunks = [{"id": "x", "choices": [{"index": 0, "delta": delta, **choice}]} for delta in deltas]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/v1/chat/completions", answer)


def test_a_conversation_is_renamed_and_keeps_its_name(page):
    reply(page, {"content": "22"})
    ask(page)
    page.click("#conversations .rename")
    page.fill("#conversations input", f"  Sums {HOSTILE} ")
    page.keyboard.press("Enter")
    page.wait_for_selector("#conversations .title")
    assert page.inner_text("#conversations .title") == f"Sums {HOSTILE}"
    ask(page, "And 17 + 6?", 2)
    page.reload()
    page.wait_for_selector("#conversations .title")
    assert page.inner_text("#conversations .title") == f"Sums {HOSTILE}"
    page.click("#conversations .rename")
    page.fill("#conversations input", "dropped")
    page.keyboard.press("Escape")
    assert page.inner_text("#conversations .title") == f"Sums {HOSTILE}"
    page.click("#conversations .rename")
    page.fill("#conversations input", " ")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#conversations .title')?.textContent === 'What is 17 + 5?'")


def test_thoughts_are_folded_and_stay_unfolded_once_opened(page):
    reply(page, {"reasoning_content": f"First *one*, then {HOSTILE}."}, {"content": "22"})
    ask(page)
    summary = page.locator("article.assistant .thoughts summary")
    assert summary.text_content().startswith("Thoughts: 6 words, ")
    assert not page.locator("article.assistant .thoughts .text").is_visible()
    summary.click()
    page.wait_for_selector(".thoughts .text em")
    assert page.locator(".thoughts img").count() == 0
    ask(page, "Again?", 2)
    assert page.locator("article.assistant .thoughts").first.get_attribute("open") is not None


@pytest.mark.slow
def test_another_method_answers_beside_the_first_with_the_same_seed(page):
    sent = []
    page.on("request", lambda one: sent.append(one.post_data_json) if "completions" in one.url else None)
    ask(page)
    page.click("article.assistant .another")
    page.select_option("#another-method", "best_of_n")
    page.click("#another .main")
    page.wait_for_function("() => document.querySelectorAll('.pair > article:not([aria-busy])').length === 2")
    assert [body["intact"].get("method") for body in sent] == [None, "best_of_n"]
    assert [body["seed"] for body in sent] == [0, 0]
    assert sent[0]["messages"] == sent[1]["messages"]
    assert [one.count(" ") >= 0 for one in page.locator(".pair h2").all_inner_texts()] == [True, True]
    boxes = [page.locator(".pair > article").nth(side).bounding_box() for side in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert overflow(page) <= 0
    page.set_viewport_size({"width": 390, "height": 800})
    assert overflow(page) <= 0
    page.set_viewport_size({"width": 1200, "height": 900})
    page.locator(".pair .keep").first.click()
    assert page.locator(".pair").count() == 0
    assert page.text_content("article.assistant .branches") == "‹1 of 2›"


@pytest.mark.slow
def test_another_model_answers_beside_the_first(chromium, tiny_path):
    with running({"one": tiny_path, "two": tiny_path}) as server:
        page = ready(chromium, server)
        ask(page)
        page.click("article.assistant .another")
        page.select_option("#another-model", "two")
        page.keyboard.press("Enter")
        page.click("#another .main") if page.locator("#another[open]").count() else None
        page.wait_for_function("() => document.querySelectorAll('.pair > article:not([aria-busy])').length === 2")
        assert page.locator(".pair h2").all_inner_texts() == ["one", "two"]
        texts = page.locator(".pair > article > .text").all_text_contents()
        assert texts[0] == texts[1]  # the same file, the same seed
        page.context.close()


def test_the_words_of_a_conversation_are_found_one_after_another(page):
    reply(page, {"reasoning_content": "A needle in thoughts."}, {"content": f"A needle, another Needle. {HOSTILE}"})
    ask(page)
    page.click("article.assistant .thoughts summary")
    page.wait_for_selector(".thoughts .text p")
    page.click("article.assistant .thoughts summary")
    page.click("#search-open")
    page.fill("#search-words", "needle")
    assert page.inner_text("#search-count") == "1 of 3"
    assert page.evaluate("CSS.highlights.get('found').size") == 3
    page.keyboard.press("Enter")
    assert page.inner_text("#search-count") == "2 of 3"
    page.click("#search-before")
    assert page.inner_text("#search-count") == "1 of 3"
    assert page.locator("article.assistant .thoughts").get_attribute("open") is not None
    page.fill("#search-words", "<img")
    assert page.inner_text("#search-count") == "1 of 1"
    page.fill("#search-words", "nothing such")
    assert page.inner_text("#search-count") == "not found"
    page.focus("#search-words")
    page.keyboard.press("Escape")
    assert not page.is_visible("#search-row")
    assert page.evaluate("CSS.highlights.size") == 0


def test_words_in_another_version_are_found_and_shown(page):
    reply(page, {"content": "First version"})
    ask(page)
    page.unroute("**/v1/chat/completions")
    reply(page, {"content": "Second version"})
    page.click("article.assistant .again")
    page.wait_for_function("() => document.querySelector('article.assistant > .text').textContent.includes('Second')")
    page.click("#search-open")
    page.fill("#search-words", "first")
    assert page.inner_text("#search-others") == "1 in other versions"
    page.click("#search-others")
    assert "First version" in page.text_content("article.assistant > .text")
    assert page.inner_text("#search-count") == "1 of 1"


def test_every_shortcut_of_the_list_does_something(page):
    """Single keys work outside of fields only, and can be turned off."""
    reply(page, {"reasoning_content": "Hm."}, {"content": "22"})
    ask(page)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") != "question"
    page.keyboard.press("?")
    assert page.locator("#keys-list tr").count() >= 26
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.type("?n")
    assert page.input_value("#question") == "?n"
    assert page.locator("#keys[open]").count() == 0
    page.fill("#question", "")
    page.keyboard.press("Escape")
    for key, shown in (
        ("t", "article .thoughts[open]"),
        ("f", "#search-row:not([hidden])"),
        ("a", "#another[open]"),
        ("o", "#report[open]"),
        ("w", "#runs[open]"),
        ("x", "#receipts:not([hidden])"),
        (",", "#settings:not([hidden])"),
        ("e", "article.user textarea"),
        ("l", "#conversations input"),
    ):
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(key)
        page.wait_for_selector(shown, state="attached")
        page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    for key, focused in (("m", "model"), ("h", "method"), ("g", "find")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == focused
        page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className") == "user"
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className") == "assistant"
    page.keyboard.press("r")
    page.wait_for_selector("article.assistant:not([aria-busy]) .branches")
    page.wait_for_function("() => document.activeElement.id === 'question'")
    page.keyboard.press("Escape")
    page.keyboard.press("[")
    page.wait_for_function("() => document.querySelector('.branches span').textContent === '1 of 2'")
    page.evaluate("document.getElementById('keys-on').click()")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("n")
    assert page.locator("article").count() == 2
    page.evaluate("document.getElementById('keys-on').click()")
    page.keyboard.press("n")
    assert page.locator("article").count() == 0


def test_a_token_shows_its_alternatives_to_pointer_and_keyboard(page):
    tokens = [
        {
            "token": "2",
            "logprob": -0.1,
            "top_logprobs": [{"token": "2", "logprob": -0.1}, {"token": HOSTILE, "logprob": -2.5}],
        },
        {
            "token": "1",
            "logprob": -3.0,
            "top_logprobs": [{"token": "2", "logprob": -0.2}, {"token": "7", "logprob": -2.9}],
        },
    ]
    reply(page, {"content": "21"}, logprobs={"content": tokens})
    ask(page)
    page.select_option("article.assistant .view", "tokens")
    shown = page.locator("article.assistant .token")
    shown.nth(1).hover()
    page.wait_for_selector("#token-card:popover-open")
    rows = page.locator("#token-card tr").all_inner_texts()
    assert [row.split("\t")[1] for row in rows] == ['"2"', '"7"', '"1"']
    assert page.locator("#token-card .chosen").inner_text().startswith("★")
    page.mouse.move(0, 0)
    page.wait_for_selector("#token-card", state="hidden")
    shown.first.focus()
    assert HOSTILE.replace('"', '\\"') in page.text_content("#token-card")
    assert page.locator("#token-card img").count() == 0
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "1"
    assert shown.nth(1).get_attribute("aria-describedby") == "token-card"
    page.keyboard.press("Escape")
    assert page.locator("#token-card:popover-open").count() == 0


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_axe_finds_no_issue_in_the_new_parts(chromium, server, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = ready(chromium, server, width, color_scheme=scheme, bypass_csp=True)
    tokens = [{"token": "22", "logprob": -1.0, "top_logprobs": []}]
    reply(page, {"reasoning_content": "Hm."}, {"content": "22"}, logprobs={"content": tokens})
    ask(page)
    page.select_option("article.assistant .view", "tokens")
    page.click("article.assistant .another")
    page.click("#another .main")
    page.wait_for_function("() => document.querySelectorAll('.pair > article:not([aria-busy])').length === 2")
    page.click("#search-open")
    for opened in (None, "keys", "report", "another"):
        if opened:
            page.evaluate("id => document.getElementById(id).showModal()", opened)
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
        if opened:
            page.evaluate("id => document.getElementById(id).close()", opened)
    assert overflow(page) <= 0
    page.context.close()
