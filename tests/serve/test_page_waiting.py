"""What the page shows while an answer is on its way: loading, growing texts, votes, budgets; and errors with advice."""

import json
import threading

import pytest

from intact.serve.models import Models
from support.browser import browser
from support.page import READY, answered, ask, opened, paused
from support.patience import PATIENCE
from support.serving import running

HOSTILE = "<img src=x onerror=alert(1)>"
CHAT = "**/v1/chat/completions"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium, server):
    with opened(chromium, server) as found:
        yield found
    server.settle(server.idle)


def test_a_model_that_loads_shows_bytes_and_time_left(chromium, tiny_path, monkeypatch):
    may_go, open_model = threading.Event(), Models._open

    def held(self, served):
        if served.name == "other":
            served.progress.weights(60_000_000, 100_000_000)
            may_go.wait(PATIENCE)
        return open_model(self, served)

    monkeypatch.setattr(Models, "_open", held)
    with running({"tiny": tiny_path, "other": tiny_path}) as server, opened(chromium, server) as page:
        page.select_option("#model", "other")
        ask(page, "What is 17 + 5?")
        page.wait_for_function("() => document.querySelector('.waiting')?.textContent.includes('60 MB of 100 MB')")
        assert page.inner_text(".waiting [role=status]").startswith("Loading other: 60 MB of 100 MB, about ")
        assert page.eval_on_selector(".waiting progress", "(bar) => bar.value") == pytest.approx(0.6)
        may_go.set()
        answered(page)
        assert page.locator(".waiting").count() == 0
        assert page.locator("article.assistant > .wrong:visible").count() == 0


def test_every_state_of_a_model_has_words(page):
    waits = {"running": 1, "waiting": 2}
    at = {"stage": "weights", "bytes": 1_500_000_000, "total_bytes": 8_000_000_000, "seconds_left": 95.4}
    cases = [
        ({"status": "loading"}, "Loading m"),
        ({"status": "loading", "loading": at | {"stage": "opening"}}, "Loading m: opening its files"),
        ({"status": "loading", "loading": at}, "Loading m: 1.50 GB of 8.00 GB, about 1 min 35 s left"),
        (
            {"status": "loading", "loading": at | {"stage": "digests", "seconds_left": None}},
            "Checking the weights of m: 1.50 GB of 8.00 GB",
        ),
        ({"status": "failed", "error": HOSTILE}, HOSTILE),
        ({"status": "unloaded"}, "m waits until the memory of other models is free"),
        ({"status": "loaded", "requests": waits}, "In the queue: 1 request running, 2 waiting"),
        ({"status": "loaded", "requests": {"running": 1, "waiting": 0}}, "Reading the question"),
    ]
    found = page.evaluate(
        "(states) => import('/page/waiting.js').then(({ describe }) => states.map((one) => describe(one).words))",
        [{"id": "m"} | state for state, _ in cases],
    )
    assert found == [words for _, words in cases]


@pytest.mark.slow
def test_texts_are_seen_while_they_grow(page, server, monkeypatch):
    monkeypatch.setattr("intact.serve.apis.openai.reasoning.INTERVAL", 0.0)
    with paused(server, 30):
        ask(page, "What is 17 + 5?", "self_consistency", 3, tokens=900)
        page.wait_for_function(
            """() => { const all = [...document.querySelectorAll('.tree .writing')];
                return all.length > 1 && all.every((one) => one.querySelector(".state").textContent === "writing"
                    && one.querySelector(".glimpse").textContent.length > 3); }"""
        )
        assert page.locator(".waiting").count() == 0
        page.keyboard.press("Escape")
        answered(page)


def search(page, events):
    """Have the page draw the events of a search, and return it as a locator."""
    page.evaluate(
        """async (events) => {
            const { Search } = await import("/page/search.js");
            const search = new Search();
            search.root.id = "drawn";
            document.getElementById("drawn")?.remove();
            document.getElementById("talk").append(search.root);
            for (const event of events) search.handle(event);
            search.show();
        }""",
        events,
    )
    return page.locator("#drawn")


def extend(branch, text, why="end", **more):
    parent = branch.rpartition("/")[0]
    node = {
        "kind": "extend",
        "branch": branch,
        "parent": parent,
        "text": text,
        "tokens": 4,
        "logprob": -1.0,
        "why": why,
    }
    return {"event": "node", "node": node | more}


def scores(**values):
    return {
        "event": "node",
        "node": {"kind": "score", "scorer": "s", "scores": [[f"p/{k}", v] for k, v in values.items()]},
    }


START = {"event": "start", "method": "m", "budget": {"tokens": 100}}
BEGUN = [START, *({"event": "begin", "branch": f"p/{i}", "parent": "p"} for i in range(4))]


def writing(*texts):
    return {
        "event": "writing",
        "tokens": 40,
        "texts": [{"branch": b, "tokens": 9, "at": at, "text": t} for b, at, t in texts],
    }


def test_parts_of_a_growing_text_are_joined_by_characters_and_gaps_are_marked(page):
    pieces = [
        writing(("p/0", 0, "a\U0001f600b"), ("p/1", 0, "first")),
        writing(("p/0", 2, "bc\U0001f680"), ("p/1", 90, "later")),
        writing(("p/0", 4, "\U0001f680 end" + HOSTILE), ("p/1", 93, "er still")),
    ]
    drawn = search(page, [*BEGUN, *pieces])
    assert drawn.locator(".tree .text").all_text_contents()[:2] == [
        "a\U0001f600bc\U0001f680 end" + HOSTILE,
        "… later still",
    ]
    assert drawn.locator("img").count() == 0
    assert "40 of 100 tokens" in drawn.inner_text()
    assert drawn.locator("progress").evaluate("(bar) => bar.value") == pytest.approx(0.4)


def test_votes_shift_as_texts_end_and_ties_are_told(page):
    answers = [{"event": "answer", "branch": f"p/{i}", "answer": one} for i, one in enumerate(["5", HOSTILE, "5", "7"])]
    ended = [extend(f"p/{i}", "so") for i in range(4)]
    drawn = search(page, [*BEGUN, *ended[:2], *answers[:2]])
    assert "a tie of 2 with 1 each" in drawn.inner_text()
    drawn = search(page, [*BEGUN, *ended, *answers])
    assert "5 leads with 2 of 4" in drawn.inner_text()
    assert drawn.locator(".votes tbody td:first-child").all_text_contents() == ["5", HOSTILE, "7"]
    assert drawn.locator(".answer").all_text_contents() == ["→ 5", f"→ {HOSTILE}", "→ 5", "→ 7"]
    assert drawn.locator("img").count() == 0
    result = {"event": "result", "answer": "5", "chosen": "p/0", "why": "done", "votes": {"5": 2, "7": 2}}
    drawn = search(page, [*BEGUN, *ended, *answers, result | {"cost": {"tokens": 16}}, answers[3]])
    assert "by 2 of 4 votes (tie, the first of 2)" in drawn.inner_text()
    assert "leads" not in drawn.inner_text()


def test_what_is_dropped_says_why(page):
    steps = [extend(f"p/{i}", "step", "stop") for i in range(4)]
    scored = scores(**{"0": 0.75, "1": 0.5, "2": 0.25, "3": 0.5})
    further = [extend("p/0/0", "a"), extend("p/1/0", "b", "cancelled"), extend("p/1/1", "c", "budget")]
    drawn = search(page, [*BEGUN, *steps, scored, *further])
    state = lambda name: drawn.locator(f".tree li:has(> details .name:text-is('{name}'))").first  # noqa: E731
    assert [state(str(i)).locator(".state").first.inner_text() for i in (2, 3)] == [
        "dropped: score 0.250, the kept have 0.500 or more",
        "dropped: tied at 0.500 with a text that was kept",
    ]
    assert drawn.locator(".tree ul .state").all_text_contents() == [
        "done",
        "dropped: no longer needed",
        "cut: budget spent",
    ]
    assert "7 texts, 0 being written, 3 dropped" in drawn.inner_text()
    ended = [extend(f"p/{i}", "x") for i in range(4)]
    result = {"event": "result", "answer": "x", "chosen": "p/1", "why": "done", "cost": {"tokens": 16}}
    drawn = search(page, [*BEGUN, *ended, scored, result])
    assert drawn.locator(".winner .state").inner_text() == "★ chosen, one of 2 with the score 0.500"
    drawn = search(page, [*BEGUN, extend("p/0", "x", "error", error=HOSTILE)])
    assert drawn.locator(".state").first.inner_text() == f"failed: {HOSTILE}"
    assert drawn.locator("img").count() == 0


def test_the_answers_of_texts_are_kept_with_the_conversation(page):
    ask(page, "What is 17 + 5?", "self_consistency", 3)
    answered(page)
    kept = page.locator(".tree .answer").all_text_contents()
    page.reload()
    page.click("#conversations .title")
    assert page.locator(".tree .answer").all_text_contents() == kept


def chunk(text):
    return f"data: {json.dumps({'id': '1', 'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"abort": "connectionrefused"}, ["does not answer", "check that intact serve is running"]),
        ({"body": chunk("Half")}, ["was lost before the answer was complete", "What had arrived is kept"]),
        (
            {"body": 'data: {"error": {"message": "the server is shutting down", "code": "ending"}}\n\n'},
            ["Start it again"],
        ),
        (
            {"status": 429, "headers": {"retry-after": "7"}, "body": '{"error": {"message": "full", "param": null}}'},
            ["full. The server is busy: try again in 7 seconds."],
        ),
        ({"status": 500, "body": HOSTILE}, ["status 500 and no explanation", "log"]),
        ({"status": 400, "body": json.dumps({"error": {"message": HOSTILE, "param": "seed"}})}, [f"{HOSTILE} (seed)."]),
    ],
)
def test_an_error_says_what_happened_and_what_to_do_and_trying_again_keeps_the_seed(chromium, server, reply, words):
    with opened(chromium, server, mistakes=False) as page:
        sent = []

        def answer(route):
            sent.append(route.request.post_data_json["seed"])
            if len(sent) > 1:
                route.continue_()
            elif "abort" in reply:
                route.abort(reply["abort"])
            else:
                route.fulfill(**{"content_type": "text/event-stream"} | reply)

        page.route(CHAT, answer)
        ask(page, "What is 17 + 5?")
        page.wait_for_selector("article.assistant > .wrong")
        found = page.inner_text("article.assistant > .wrong")
        assert all(one in found for one in words)
        assert "Failed to fetch" not in found
        assert "network error" not in found
        assert page.locator("article img").count() == 0
        assert page.inner_text("article.assistant .again") == "Try again"
        page.click("article.assistant .again")
        page.wait_for_selector("article.assistant .branches")
        answered(page)
        assert sent == [0, 0]
        assert page.locator("article.assistant > .wrong:visible").count() == 0


def test_a_page_that_reaches_no_server_says_so_and_tries_again(chromium, server):
    context = chromium.new_context()
    page, reached = context.new_page(), []
    page.route("**/v1/models", lambda route: route.continue_() if reached else route.abort("connectionrefused"))
    page.goto(server.url)
    page.wait_for_selector("#trouble:visible")
    assert "does not answer" in page.inner_text("#trouble")
    reached.append(True)
    page.click("#trouble-again")
    page.wait_for_selector(READY, state="attached")
    page.wait_for_selector("#trouble", state="hidden")
    context.close()
