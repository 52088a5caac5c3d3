"""The page at `/` in a real browser: conversations and their branches, Markdown, searches, receipts, a phone, a key."""

import itertools
import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from intact.reason.closeness import Closeness
from intact.receipts.document import Receipt
from intact.serve.app import PAGE
from intact.solving.receipts.document import RunReceipt
from support.browser import browser, complaints, overflow
from support.page import answered, ask, set_field
from support.patience import PATIENCE
from support.serving import running

WAIT = 1000 * PATIENCE  # milliseconds
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
    opened.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    yield opened
    assert said == []
    assert {url.netloc for url in asked if url.scheme != "blob"} == {urlsplit(server.url).netloc}
    context.close()
    server.settle(server.idle)


def source(page, number=0):
    """The text of an answer as the model wrote it."""
    article = page.locator("article.assistant").nth(number)
    article.locator(".view").select_option("source")
    return article.locator(":scope > .text").text_content()


def completion(client, messages, **more):
    """What the interface answers with the page's own sampling."""
    sampling = {"temperature": 0.7, "top_p": 0.95, "max_tokens": 12, "seed": 0} | more
    return client.chat.completions.create(model="tiny", messages=messages, **sampling).choices[0].message.content


def test_a_conversation_is_that_of_the_interface(page, client):
    ask(page, "What is 17 + 5?")
    answered(page)
    first = source(page)
    question = {"role": "user", "content": "What is 17 + 5?"}
    assert first == completion(client, [question])
    ask(page, "And twice that?")
    answered(page, 2)
    messages = [question, {"role": "assistant", "content": first}, {"role": "user", "content": "And twice that?"}]
    assert source(page, 1) == completion(client, messages)
    assert page.inner_text("#context-words").endswith("tokens")
    page.click("#fresh")
    assert page.locator("article").count() == 0


def test_a_system_prompt_and_sampling_are_those_of_the_settings(page, client):
    page.click("#settings-open")
    page.fill("#system", "Answer in one word.")
    page.fill("#temperature", "0.2")
    page.fill("#seed", "5")
    ask(page, "What is 17 + 5?")
    answered(page)
    messages = [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "What is 17 + 5?"},
    ]
    assert source(page) == completion(client, messages, temperature=0.2, seed=5)


@pytest.mark.slow
def test_asking_again_and_editing_make_branches_that_are_kept(page, client):
    ask(page, "What is 17 + 5?")
    answered(page)
    first = source(page)
    page.click("article.assistant .again")
    page.wait_for_selector("article.assistant .branches")
    answered(page)
    assert source(page) == completion(client, [{"role": "user", "content": "What is 17 + 5?"}], seed=1)
    page.click("[aria-label='Earlier version']")
    assert source(page) == first
    page.click("article.user .edit")
    page.fill("article.user textarea", "What is 17 - 5?")
    page.click("article.user .changing .main")
    page.wait_for_selector("article.user .branches")
    answered(page)
    assert source(page) == completion(client, [{"role": "user", "content": "What is 17 - 5?"}])
    page.click("article.user [aria-label='Earlier version']")
    assert page.text_content("article.user > .text") == "What is 17 + 5?"
    assert page.text_content("article.assistant .branches") == "‹2 of 2›"


def test_conversations_are_kept_found_exported_imported_and_deleted(page, tmp_path):
    ask(page, "What is 17 + 5?")
    answered(page)
    first = source(page)
    page.click("#fresh")
    ask(page, "Name a colour.")
    answered(page)
    page.reload()
    page.wait_for_selector("#conversations li:nth-child(2)")
    page.fill("#find", "17 + 5")
    assert page.locator("#conversations li").count() == 1
    page.click("#conversations .title")
    assert source(page) == first
    with page.expect_download() as kept:
        page.click("#conversations [aria-label^=Export]")
    path = tmp_path / "one.json"
    kept.value.save_as(path)
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#conversations [aria-label^=Delete]")
    page.wait_for_function("() => !document.querySelector('article, #conversations li')")
    page.set_input_files("#import", path)
    page.wait_for_selector("#conversations .title")
    page.click("#conversations .title")
    assert source(page) == first
    document = json.loads(path.read_text())
    document["conversations"][0]["nodes"][0]["parent"] = "nobody"
    path.write_text(json.dumps(document))
    page.set_input_files("#import", path)
    page.wait_for_function("() => document.getElementById('side-problem').textContent.includes('does not come before')")
    first, second = document["conversations"][0]["nodes"]
    document["conversations"][0]["nodes"] = [first | {"parent": None}, second, first | {"parent": second["id"]}]
    path.write_text(json.dumps(document))
    page.set_input_files("#import", path)  # a circle, in which the page would walk for ever
    page.wait_for_function("() => document.getElementById('side-problem').textContent.includes('same id')")


def export(messages, **more):
    """An exported conversation of these messages, with what a test changes."""
    one = {"id": "c", "title": "", "updated": 1, "system": "", "leaf": messages[-1]["id"], "nodes": messages} | more
    return {"format": "intact-conversations", "version": 1, "conversations": [one]}


def talk(turns, **more):
    """Messages of a conversation, of which the last has more members."""
    nodes = [
        {
            "id": str(i),
            "parent": str(i - 1) if i else None,
            "role": "assistant" if i % 2 else "user",
            "content": f"m{i}",
        }
        for i in range(turns)
    ]
    nodes[-1] |= more
    return nodes


def import_text(page, path, document):
    path.write_text(json.dumps(document) if not isinstance(document, str) else document)
    page.evaluate("document.getElementById('side-problem').textContent = ''")
    page.set_input_files("#import", path)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("[1", "not JSON"),
        ({"format": "other"}, "not an export"),
        (export(talk(2, run={"start": {"method": 5}})), "nodes[1].run.start.method must be a string"),
        (
            export(talk(2, run={"start": {"method": "m"}, "nodes": [{"kind": "extend"}], "outputs": []})),
            "branch must be",
        ),
        (
            export(talk(2, logprobs=[{"token": "a", "logprob": "<img src=x onerror=alert(1)>"}])),
            "logprob must be a number",
        ),
        (export(talk(2, usage={"total_tokens": {}})), "completion_tokens must be a number"),
        (export(talk(2, error={"toString": 1})), "error must be a string"),
        (export(talk(2, receipt=[])), "receipt must be an object"),
        (export(talk(2), updated="never"), "updated must be a number"),
        (export(talk(2), nodes={}), "nodes must be a list"),
        (export(talk(2), leaf="9"), "ends in a message that does not exist"),
    ],
)
@pytest.mark.slow
def test_a_damaged_or_hostile_export_is_refused_and_nothing_is_lost(page, tmp_path, document, complaint):
    import_text(page, tmp_path / "good.json", export(talk(2), title="Kept"))
    page.wait_for_selector("#conversations .title >> text=Kept")
    import_text(page, tmp_path / "bad.json", document)
    page.wait_for_function("() => document.getElementById('side-problem').textContent")
    assert complaint in page.inner_text("#side-problem")
    assert page.locator("#conversations li").count() == 1


@pytest.mark.slow
def test_an_import_replaces_no_conversation(page, tmp_path):
    for i, text in enumerate((export(talk(2)), export(talk(2)), export(talk(4)))):
        import_text(page, tmp_path / f"{i}.json", text)  # a file that changes while it is read is an error
    page.wait_for_selector("#conversations li:nth-child(2)")
    page.reload()
    page.wait_for_selector("#conversations li:nth-child(2)")
    assert page.locator("#conversations li").count() == 2
    damaged = {"entries": [{"kind": "text"}], "constructor": {"prototype": {"polluted": 1}}}
    run = {"start": {"method": "m", "budget": None}, "nodes": [], "result": None, "outputs": []}
    odd = export(talk(2, receipt=damaged, run=run, method="m"), id="__proto__", title="Odd")
    import_text(page, tmp_path / "odd.json", odd)
    page.wait_for_selector("#conversations li:nth-child(3)")
    page.click("#conversations .title >> text=Odd")
    page.click("#runs-open")  # a receipt that cannot be read has no outputs to show
    assert page.locator("#left-run .search").count() == 1


@pytest.mark.slow
def test_a_page_whose_storage_is_blocked_works_and_says_that_nothing_is_kept(chromium, server):
    opened = chromium.new_page()
    opened.set_default_timeout(WAIT)
    said = complaints(opened)
    opened.add_init_script(
        """for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
            Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
        }"""
    )
    opened.goto(server.url)
    opened.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    assert "stores nothing" in opened.inner_text("#side-problem")
    opened.click("#theme")
    ask(opened, "What is 17 + 5?", tokens=4)
    answered(opened)
    assert opened.locator("#conversations li").count() == 1
    assert said == []
    opened.close()


@pytest.mark.slow
def test_a_long_conversation_is_not_drawn_again_for_an_answer(page, tmp_path):
    import_text(page, tmp_path / "long.json", export(talk(40), title="Long"))
    page.click("#conversations .title")
    page.evaluate("[...document.querySelectorAll('article')].forEach((one) => { one.dataset.old = 'yes'; })")
    ask(page, "What is 17 + 5?", tokens=1)
    answered(page, 21)
    assert page.locator("article").count() == 42
    assert page.locator("article[data-old]").count() == 40


@pytest.mark.slow
def test_what_was_asked_is_kept_while_it_is_answered(page, server, monkeypatch):
    engine, may_step = server.service.models.served["tiny"].loaded.engine, threading.Event()
    step = engine.step
    monkeypatch.setattr(engine, "step", lambda: may_step.wait(PATIENCE) and step())
    ask(page, "What is 17 + 5?", tokens=900)
    page.wait_for_selector("article.assistant[aria-busy]")
    page.wait_for_selector("#conversations .title")
    page.reload()
    may_step.set()
    page.click("#conversations .title")
    assert page.text_content("article.user > .text") == "What is 17 + 5?"
    assert "stopped" in page.text_content("article.assistant > .figures")
    server.settle(server.idle)


@pytest.mark.slow
def test_escape_closes_what_is_in_front_and_only_then_stops(page, server, monkeypatch):
    engine, may_step = server.service.models.served["tiny"].loaded.engine, threading.Event()
    step = engine.step
    monkeypatch.setattr(engine, "step", lambda: may_step.wait(PATIENCE) and step())
    ask(page, "What is 17 + 5?", tokens=900)
    page.wait_for_selector("article.assistant[aria-busy]")
    page.click("#runs-open")
    page.keyboard.press("Escape")
    page.wait_for_selector("#runs", state="hidden")
    page.click("article.user .edit")
    page.keyboard.press("Escape")
    assert page.locator("article.user textarea").count() == 0
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#settings-open" if page.is_hidden("#side") else "#side-close")
    page.click("#settings-open") if page.is_hidden("#settings") else None
    page.keyboard.press("Escape")
    assert page.is_hidden("#settings")
    assert page.locator("article.assistant[aria-busy]").count() == 1
    page.keyboard.press("Escape")
    answered(page)
    may_step.set()
    server.settle(server.idle)


HALF = "Here is **half\n\n```python\nx = '" + "a" * 400 + "'\ndef f("
RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd `code` abc"


@pytest.mark.slow
def test_text_that_is_half_there_too_wide_or_from_right_to_left_is_drawn(page, tmp_path):
    page.set_viewport_size({"width": 390, "height": 800})
    import_text(page, tmp_path / "one.json", export(talk(2, content=f"{RIGHT_TO_LEFT}\n\n{HALF}"), title="One"))
    page.wait_for_selector("#conversations .title", state="attached")
    page.evaluate("document.querySelector('#conversations .title').click()")
    drawn = page.locator("article.assistant > .text")
    assert drawn.locator("pre").count() == 1
    assert drawn.locator("pre").text_content().rstrip().endswith("def f(")
    assert overflow(page) <= 0
    places = """(p) => { const range = document.createRange(); range.selectNodeContents(p.firstChild);
        return [range.getBoundingClientRect().right, p.querySelector("code").getBoundingClientRect().right]; }"""
    first, second = drawn.locator("p").first.evaluate(places)
    assert first > second


@pytest.mark.slow
def test_the_page_works_where_the_browser_fails_to_read_what_it_kept(page):
    page.add_init_script("IDBObjectStore.prototype.getAll = () => { throw new DOMException('no', 'UnknownError'); };")
    page.reload()
    page.wait_for_selector("#method optgroup option", state="attached")
    ask(page, "What is 17 + 5?")
    answered(page)
    assert "cannot be read" in page.text_content("#side-problem")


MARKDOWN = """\
# A heading

| a | b |
|---|---|
| 1 | *two* |

```python
def f(x):
    return x + 1
```

$$
\\frac{a}{b}
$$

It costs $5 or $6; \\(x^2\\) is a formula. <img src=x onerror=alert(1)> ![](http://elsewhere.test/x.png)
[a link](javascript:alert(3)) [another](http://elsewhere.test/)
"""


@pytest.mark.slow
def test_markdown_code_and_mathematics_are_drawn_and_nothing_else(page):
    page.evaluate(
        """async (text) => {
            const { render } = await import("/page/render.js");
            const target = document.createElement("div");
            target.id = "drawn";
            document.getElementById("talk").append(target);
            render(target, text);
        }""",
        MARKDOWN,
    )
    drawn = page.locator("#drawn")
    assert drawn.locator("h1").inner_text() == "A heading"
    assert drawn.locator("td em").inner_text() == "two"
    assert drawn.locator("code .hljs-keyword").first.inner_text() == "def"
    assert drawn.locator("math").count() == 2
    assert "It costs $5 or $6" in drawn.inner_text()
    assert drawn.locator("img, script").count() == 0
    assert drawn.locator("a").evaluate_all("links => links.map((a) => [a.href, a.rel])") == [
        ["http://elsewhere.test/x.png", "noopener noreferrer"],
        ["http://elsewhere.test/", "noopener noreferrer"],
    ]


@pytest.mark.slow
def test_tokens_have_their_probabilities(page):
    page.click("#settings-open")
    page.check("#logprobs")
    ask(page, "What is 17 + 5?")
    answered(page)
    page.select_option("article.assistant .view", "tokens")
    tokens = page.locator("article.assistant .token")
    assert tokens.count() == 12
    tokens.first.hover()
    page.wait_for_selector("#token-card:popover-open")
    assert re.search(r"log-probability -?\d", page.text_content("#token-card"))


def test_thoughts_are_apart_from_the_answer_and_are_not_sent_back(page):
    sent = []

    def answer(route):
        sent.append(route.request.post_data_json["messages"])
        deltas = [{"reasoning_content": "Hm, "}, {"reasoning_content": "air?"}, {"content": "Air."}]
        chunks = [{"id": "1", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        route.fulfill(content_type="text/event-stream", body="".join(lines) + "data: [DONE]\n\n")

    page.route("**/v1/chat/completions", answer)
    ask(page, "Why is the sky blue?")
    answered(page)
    page.click("article.assistant .thoughts summary")
    assert page.inner_text("article.assistant .thoughts .text").strip() == "Hm, air?"
    assert source(page) == "Air."
    ask(page, "And at night?")
    answered(page, 2)
    assert sent[1][1] == {"role": "assistant", "content": "Air."}


@pytest.mark.slow
def test_settings_are_checked_before_they_are_sent(page):
    page.click("#settings-open")
    page.fill("#top_p", "5")
    page.click("#settings .close")
    page.fill("#question", "What is 17 + 5?")
    page.press("#question", "Enter")
    assert page.locator("article").count() == 0
    assert page.input_value("#question") == "What is 17 + 5?"
    assert page.is_visible("#top_p")
    assert page.evaluate("document.activeElement.id") == "top_p"


def test_a_search_is_filtered_sorted_folded_and_explained(page):
    ask(page, "What is 17 + 5?", "best_of_n", 4)
    answered(page)
    page.select_option(".order", "score")
    scores = [
        float(text) for text in page.locator(".tree > li > details > summary > span:nth-child(4)").all_text_contents()
    ]
    assert scores == sorted(scores, reverse=True)
    page.fill(".filter", "no text holds this")
    assert page.locator(".tree > li:visible").count() == 0
    page.fill(".filter", "")
    assert page.locator(".tree > li:visible").count() == 4
    page.click(".explain")
    page.wait_for_selector(".tree .token", state="attached")
    assert page.locator(".tree > li").first.locator(".token").count() == 12


@pytest.mark.slow
def test_two_runs_stand_side_by_side_one_of_them_from_a_file(page, tmp_path):
    ask(page, "What is 17 + 5?", "best_of_n", 3)
    with page.expect_download() as kept:
        page.click("button.receipt")
    path = tmp_path / "saved.receipt"
    kept.value.save_as(path)
    page.click("#runs-open")
    assert page.locator("#left-run .tree > li").count() == 3
    page.set_input_files("#run-file", path)
    page.wait_for_selector("#right-run .tree > li")
    left, right = (page.locator(f"#{side} .tree .glimpse").all_text_contents() for side in ("left-run", "right-run"))
    assert len(left) == 3
    assert left == right
    (tmp_path / "none.json").write_text("{}")
    page.set_input_files("#run-file", tmp_path / "none.json")
    page.wait_for_function("() => document.getElementById('runs-problem').textContent.includes('neither a trace')")


def test_a_vote_says_how_close_it_was_as_the_command_line_does(page, tmp_path):
    cases = [
        ({"401": 2, "391": 1, "12": 1}, "401"),
        ({"401": 1, "391": 1, "12": 1, "7": 1}, "401"),
        ({"401": 1234}, "401"),
        ({"b": 0.7, "a": 0.5}, "b"),
        ({"b": 0.3, "a": 0.3}, "b"),
        ({"b": 2.0**90, "a": 1}, "b"),
        ({"b": 1}, "b"),
        ({"b": -1, "a": -2}, "b"),
        ({}, None),
    ]
    found = page.evaluate(
        "(cases) => import('/page/search.js').then((page) => cases.map((one) => page.closenessOf(...one)))", cases
    )
    assert found == [str(Closeness.of(*one) or "") for one in cases]
    votes, answer = cases[0]
    trace = {"method": "self_consistency", "nodes": [], "answer": answer, "votes": votes, "cost": {"tokens": 4}}
    (tmp_path / "run.json").write_text(json.dumps(trace))
    ask(page, "What is 17 + 5?", "best_of_n", 2)
    answered(page)
    page.click("#runs-open")
    page.set_input_files("#run-file", tmp_path / "run.json")
    page.wait_for_function("() => document.getElementById('runs').textContent.includes('by 2 of 4 votes')")


@pytest.mark.slow
def test_the_transcript_of_a_tool_is_text_whatever_it_holds(page, tmp_path):
    hostile = "<img src=x onerror=alert(1)>\\x1b[31m"
    values = {"code": "print(x)\n<script>alert(2)</script>", "before": ["x = 1", "x += 1"], "seconds": 10.0}
    node = {"kind": "tool", "tool": "python", "version": "0" * 64, "values": values, "text": hostile, "ended": "ok"}
    written = {
        "kind": "extend",
        "branch": "p/0",
        "parent": "p",
        "text": "So 2.",
        "tokens": 4,
        "logprob": -1.0,
        "why": "end",
    }
    recorded = {**node, "tool": "mcp:notes/search", "values": {"words": "two"}, "replayable": False}
    trace = {
        "method": "interleaved_code",
        "nodes": [written, {**node, "replayable": True}, recorded],
        "answer": "2",
        "chosen": "p/0",
        "why": "done",
        "cost": {"tokens": 4},
        "budget": {},
    }
    (tmp_path / "tool.json").write_text(json.dumps(trace))
    ask(page, "What is 17 + 5?")
    answered(page)
    page.click("#runs-open")
    page.set_input_files("#run-file", tmp_path / "tool.json")
    page.wait_for_selector("#runs details.tool")
    tools = page.locator("#left-run details.tool, #right-run details.tool")
    assert tools.count() == 2
    assert tools.nth(0).locator("summary").text_content() == "the tool python was used: ok"
    assert tools.nth(1).locator("summary").text_content() == "the tool mcp:notes/search was used: ok, recorded"
    tools.nth(0).locator("summary").click()
    shown = tools.nth(0).locator("p.text").all_text_contents()
    assert shown == [f"seconds: 10\n# earlier cells: 2\n{values['code']}", hostile]
    assert page.locator("#runs img, #runs script").count() == 0
    assert overflow(page) == 0


def test_a_receipt_is_kept_and_found_true_and_a_changed_one_false(page, tmp_path):
    ask(page, "What is 17 + 5?")
    with page.expect_download() as kept:
        page.click("button.receipt")
    path = tmp_path / kept.value.suggested_filename
    kept.value.save_as(path)
    receipt = Receipt.parse(path.read_bytes().rstrip(b"\n"))
    assert len(receipt.output.tokens) == 12
    page.click("#receipts-open")
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


@pytest.mark.slow
def test_the_receipt_of_a_search_is_kept_and_found_true(page, tmp_path):
    ask(page, "What is 17 + 5?", "best_of_n", 3)
    with page.expect_download() as kept:
        page.click("button.receipt")
    path = tmp_path / kept.value.suggested_filename
    kept.value.save_as(path)
    receipt = RunReceipt.parse(path.read_bytes().rstrip(b"\n"))
    assert (receipt.header.method, receipt.count) == ("best_of_n", 36)
    page.click("#receipts-open")
    page.set_input_files("#file", path)
    page.wait_for_selector("#verdicts .true")
    assert "these 36 tokens" in page.inner_text("#verdicts li")
    entry = replace(receipt.entries[3], scores=(0.1, 0.2, 0.3))
    changed = RunReceipt.make(receipt.header, (*receipt.entries[:3], entry), receipt.result)
    path.write_bytes(changed.encode() + b"\n")
    page.set_input_files("#file", path)
    page.wait_for_selector("#verdicts .wrong")
    assert "(score, entry 3)" in page.locator("#verdicts li").last.inner_text()


@pytest.mark.slow
def test_a_text_of_two_workers_is_drawn_and_its_receipt_found_true(page, tmp_path):
    page.select_option("#method", "hogwild")
    page.fill("#n", "2")
    for name, value in {"cache": "shared", "tokens": 6, "conclude": 4}.items():
        page.eval_on_selector(f"#parameters [name={name}]", "(field, value) => { field.value = value; }", value)
    page.fill("#question", "What is 17 + 5?")
    page.press("#question", "Enter")
    answered(page)
    assert page.locator(".search .tree > li").count() == 1
    shown = page.locator(".tree > li").first
    assert "I'm Alice." in shown.text_content()
    assert "16 tokens" in shown.text_content()
    with page.expect_download() as kept:
        page.click("button.receipt")
    path = tmp_path / kept.value.suggested_filename
    kept.value.save_as(path)
    page.click("#receipts-open")
    page.set_input_files("#file", path)
    page.wait_for_selector("#verdicts .true")


@pytest.mark.parametrize("width", [1100, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_a_search_is_seen_with_its_winner(page, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    ask(page, "What is 17 + 5?", "best_of_n", 4)
    page.wait_for_selector("article .tree > li")
    answered(page)
    assert page.locator(".tree > li").count() == 4
    assert page.locator(".tree meter").count() == 4
    assert page.locator(".winner").count() == 1
    assert "chosen" in page.text_content(".winner .state")
    page.focus(".winner summary")
    page.keyboard.press("Enter")
    shown = page.locator(".winner .text")
    assert shown.is_visible()
    assert shown.text_content() == source(page)
    assert overflow(page) <= 0


@pytest.mark.slow
def test_votes_are_counted_and_a_spent_budget_is_told(page):
    ask(page, "What is 17 + 5?", "self_consistency", 3)
    answered(page)
    votes = [float(text) for text in page.locator(".votes tbody td:last-child").all_text_contents()]
    assert sum(votes) <= 3
    page.fill("#budget", "20")
    ask(page, "What is 17 + 5?", "self_consistency", 8)
    answered(page, 2)
    assert "the budget was spent" in page.locator(".search").nth(1).text_content()


@pytest.mark.slow
def test_a_search_is_stopped_by_escape_and_frees_what_it_held(page, server):
    page.select_option("#method", "self_consistency")
    page.fill("#budget", "60000")
    ask(page, "What is 17 + 5?", "self_consistency", 200, tokens=900)  # seconds on the fastest machine
    page.wait_for_selector("article .tree > li")
    page.keyboard.press("Escape")
    answered(page)
    assert "stopped" in page.text_content("article.assistant > .figures")
    server.settle(server.idle)


@pytest.mark.slow
def test_an_answer_that_is_stopped_keeps_what_it_said(page, server, monkeypatch):
    engine, steps, may_step = server.service.models.served["tiny"].loaded.engine, itertools.count(), threading.Event()
    step = engine.step
    monkeypatch.setattr(engine, "step", lambda: (next(steps) < 20 or may_step.wait(PATIENCE)) and step())
    ask(page, "What is 17 + 5?", tokens=900)
    page.wait_for_function("() => document.querySelector('article.assistant > .text')?.textContent.length > 5")
    page.click("#stop")
    answered(page)
    may_step.set()
    assert "stopped" in page.text_content("article.assistant > .figures")
    assert len(source(page)) > 5
    server.settle(server.idle)


def test_what_a_model_writes_is_no_markup(page):
    ask(page, "<img src=x onerror=alert(1)><script>alert(2)</script>")
    answered(page)
    assert page.text_content("article.user > .text").startswith("<img")
    assert page.locator("article img, article script").count() == 0


def test_an_error_is_given_in_the_server_s_words_and_the_question_is_kept(chromium, server):
    opened = chromium.new_page()
    opened.set_default_timeout(WAIT)
    opened.goto(server.url)
    opened.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    set_field(opened, "system", "word " * 3000)
    ask(opened, "What is 17 + 5?")
    opened.wait_for_selector("article.assistant > .wrong")
    assert "context" in opened.text_content("article.assistant > .wrong")
    set_field(opened, "system", "")
    opened.click("article.assistant .again")
    answered(opened)
    opened.wait_for_selector("article.assistant .branches")
    assert opened.text_content("article.user > .text") == "What is 17 + 5?"
    opened.close()


@pytest.mark.slow
def test_a_key_is_asked_for_once(chromium, tiny_path):
    with running({"tiny": tiny_path}, keys=(KEY,)) as locked:
        opened = chromium.new_page()
        opened.set_default_timeout(WAIT)
        opened.goto(locked.url)
        opened.wait_for_selector("#door[open]")
        opened.fill("#key", KEY)
        opened.keyboard.press("Enter")
        opened.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
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
    assert {"model", "fresh", "theme", "question", "method", "send", "settings-open", "receipts-open"} <= reached


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_axe_finds_no_issue(chromium, server, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(server.url)
    page.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    ask(page, "What is 17 + 5?", "best_of_n", 3)
    answered(page)
    for open_panel in ("settings-open", "receipts-open", "runs-open"):
        page.evaluate("id => document.getElementById(id).click()", open_panel)
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
    assert overflow(page) <= 0
    context.close()


def test_the_policy_lets_it_talk_to_its_own_server_alone(server):
    for path in ("/", "/page/main.js", "/page/vendor/katex.js", "/page/style.css", "/page/icon.svg"):
        answer = httpx.get(server.url + path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    for file in filter(Path.is_file, PAGE.iterdir()):
        elsewhere = re.findall(r"https?://(?!www\.w3\.org/2000/svg)\S+", file.read_text())
        assert elsewhere == []
