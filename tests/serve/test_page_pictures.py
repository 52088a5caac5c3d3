"""Pictures of the page in each state, in three widths, light and dark, compared with stored ones; axe in each state."""

import json
from pathlib import Path

import pytest

from support.browser import browser, overflow
from support.page import opened
from support.pictures import MOST, compare, difference, taken, use_fixed_fonts

SIZES = {390: 844, 1280: 800, 1920: 1080}
BUILD = Path(__file__).parents[2] / "build" / "pictures"
HOSTILE = "<img src=x onerror=alert(1)>"
MARKDOWN = f"""\
**391** is 17 times 23. {HOSTILE}

| step | value |
|---|---|
| 17 x 20 | 340 |
| 17 x 3 | 51 |

```python
def multiply(a, b):
    return a * b  # a comment
```
"""
PARAGRAPH = "First 17 times 20, which is 340, and then 17 times 3, which is 51. "


def extend(branch, text, why="end"):
    parent = branch.rpartition("/")[0]
    return {
        "kind": "extend",
        "branch": branch,
        "parent": parent,
        "text": text,
        "tokens": 20,
        "logprob": -3.0,
        "why": why,
    }


def score(**values):
    return {"kind": "score", "scorer": "length", "scores": [[f"p/{name}", value] for name, value in values.items()]}


RUN = {
    "start": {"method": "beam_search", "paper": "Snell et al. 2024, arXiv 2408.03314", "budget": {"tokens": 400}},
    "nodes": [
        *(extend(f"p/{i}", PARAGRAPH, "stop") for i in range(3)),
        score(**{"0": 0.75, "1": 0.5, "2": 0.25}),
        extend("p/0/0", "So it is 391."),
        extend("p/0/1", f"So it is 401. {HOSTILE}"),
        extend("p/1/0", "That may be 391.", "budget"),
    ],
    "answers": [["p/0/0", "391"], ["p/0/1", "401"]],
    "result": {
        "answer": "391", "chosen": "p/0/0", "why": "spent", "votes": {"391": 1, "401": 1},
        "cost": {"tokens": 120, "sequential": 40, "scores": 3, "operations": 29_000_000_000},
    },
    "outputs": [],
}  # fmt: skip
ANSWERS = {
    "answer": {"content": MARKDOWN, "usage": {"completion_tokens": 40, "total_tokens": 60}, "speed": 85},
    "search": {"content": "So it is 391.", "method": "beam_search", "run": RUN},
    "error": {
        "content": "First 17",
        "error": "The connection to the server was lost before the answer was complete. Try again.",
    },
}
LIVE = [
    {"event": "start", "method": "self_consistency", "paper": "Wang et al. 2022", "budget": {"tokens": 400}},
    *({"event": "begin", "branch": f"p/{i}", "parent": "p"} for i in range(4)),
    {"event": "node", "node": extend("p/0", "So it is 391.")},
    {"event": "answer", "branch": "p/0", "answer": "391"},
    {"event": "node", "node": extend("p/1", "So it is 401.")},
    {"event": "answer", "branch": "p/1", "answer": "401"},
    {"event": "writing", "tokens": 150, "texts": [
        {"branch": "p/2", "tokens": 60, "at": 0, "text": 4 * PARAGRAPH},
        {"branch": "p/3", "tokens": 12, "at": 0, "text": f"Let us see. {HOSTILE}"},
    ]},
]  # fmt: skip
LOADING = {
    "id": "tiny", "status": "loading", "requests": {"running": 0, "waiting": 1},
    "loading": {"stage": "weights", "bytes": 600_000_000, "total_bytes": 900_000_000, "seconds_left": 12.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


def conversation(state):
    nodes = [
        {"id": "0", "parent": None, "role": "user", "content": "What is 17 * 23?"},
        {"id": "1", "parent": "0", "role": "assistant", "model": "tiny", "seed": 0, **ANSWERS[state]},
    ]
    return {
        "id": state,
        "title": f"What is 17 * 23? ({state})",
        "updated": 1,
        "system": "",
        "leaf": "1",
        "nodes": nodes,
    }


def fill(page, tmp_path):
    """Import a conversation for each kind of answer."""
    path = tmp_path / "conversations.json"
    kept = [conversation(state) for state in ANSWERS]
    path.write_text(json.dumps({"format": "intact-conversations", "version": 1, "conversations": kept}))
    page.set_input_files("#import", path)
    page.wait_for_selector(f"#conversations li:nth-child({len(kept)})", state="attached")


def show(page, state):
    """Bring the page into a state."""
    for panel in ("settings", "receipts"):
        page.evaluate("(id) => { document.getElementById(id).hidden = true; }", panel)
    if state in ANSWERS:
        page.evaluate(
            """(state) => [...document.querySelectorAll("#conversations .title")]
                .find((one) => one.textContent.includes(`(${state})`)).click()""",
            state,
        )
    elif state == "growing":
        page.evaluate("document.getElementById('fresh').click()")
        page.evaluate(
            """async (events) => {
                const { Message } = await import("/page/message.js");
                const node = { role: "assistant", content: "", model: "tiny", method: "self_consistency", seed: 0 };
                const message = new Message(node, [node], {});
                message.busy = true;
                document.getElementById("hint").hidden = true;
                document.getElementById("talk").replaceChildren(message.root);
                for (const event of events) message.handle(event);
                message.search.show();
            }""",
            LIVE,
        )
    elif state == "loading":
        page.evaluate("document.getElementById('fresh').click()")
        page.route("**/v1/chat/completions", lambda route: None)
        page.route("**/v1/models/tiny", lambda route: route.fulfill(json=LOADING))
        page.fill("#question", "What is 17 * 23?")
        page.press("#question", "Enter")
        page.wait_for_function("() => document.querySelector('.waiting')?.textContent.includes('600 MB')")
    elif state in ("settings", "receipts"):
        page.evaluate("(id) => document.getElementById(`${id}-open`).click()", state)
    elif state == "sidebar":
        page.evaluate("(state) => { document.getElementById('side').hidden = false; }", state)
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")


STATES = ("empty", "answer", "search", "error", "growing", "settings", "receipts", "sidebar", "loading")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
@pytest.mark.slow
def test_the_page_looks_as_it_did(chromium, server, tmp_path, width, scheme):
    with opened(
        chromium,
        server,
        prepare=use_fixed_fonts,
        viewport={"width": width, "height": SIZES[width]},
        color_scheme=scheme,
        bypass_csp=True,
    ) as page:
        pictures = {}
        for state in STATES:
            if state == "answer":
                fill(page, tmp_path)
            show(page, state)
            pictures[state] = taken(page)
            assert overflow(page) <= 0, state
        compare(pictures, f"{width}-{scheme}", BUILD)


@pytest.mark.slow
def test_a_change_of_looks_is_a_difference(chromium, server, tmp_path):
    changes = {
        "a lost button": "#settings-open { visibility: hidden; }",
        "a second row": "header { flex-wrap: wrap; } #context, header .grow { flex-basis: 100%; }",
        "a colour": ":root { --shade: #fbfaf8 !important; }",
        "a row more": "article h2 { margin-bottom: 1.5rem; }",
    }
    with opened(
        chromium, server, prepare=use_fixed_fonts, viewport={"width": 1280, "height": 800}, bypass_csp=True
    ) as page:
        fill(page, tmp_path)
        show(page, "search")
        before = taken(page)
        assert difference(before, taken(page)) == 0
        for name, style in changes.items():
            added = page.add_style_tag(content=style)
            assert difference(before, taken(page)) > MOST, name
            added.evaluate("(element) => element.remove()")
        assert difference(before, taken(page)) < 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.slow
def test_axe_finds_no_issue_in_any_state(chromium, server, tmp_path, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    with opened(
        chromium, server, viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme, bypass_csp=True
    ) as page:
        for state in STATES:
            if state == "answer":
                fill(page, tmp_path)
            show(page, state)
            found = axe.Axe().run(page).response["violations"]
            assert [(state, one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
