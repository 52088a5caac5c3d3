"""Completions and results in a notebook: one line as text, and HTML in which hostile texts stay texts."""

import asyncio
import dataclasses
import re
from html.parser import HTMLParser

import pytest

import intact
from intact._base.markup.render import without_controls
from intact._base.markup.tree import LONGEST, MOST, draw_tree
from intact.engine.completion import Chunk, Completion
from intact.reason.budget import Cost
from intact.reason.problem import Answer, Piece, Problem, Result, State
from support.browser import browser, complaints, overflow
from support.tiny import write_tiny

HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\x1b[31m\x00\ud800"
VOID = {"img", "br", "hr", "meta", "link", "input"}


class Strict(HTMLParser):
    """Reads HTML, and fails where a tag is not closed in order, or an attribute could run a program."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            assert name not in ("src", "href")
            assert value is None or "javascript:" not in value
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def strict(html):
    found = Strict()
    found.feed(html)
    found.close()
    assert found.open == []
    assert set(found.tags) <= {
        *("div", "style", "pre", "span", "p", "table", "tbody", "tr", "th", "td", "details", "summary"),
        *("svg", "path", "circle", "title"),
    }
    html.encode()  # no half of a surrogate pair is left
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", html)
    return found


def extend(branch, text="a text", why="end", tokens=4, **changes):
    parent = branch.rpartition("/")[0]
    node = {"kind": "extend", "branch": branch, "parent": parent, "text": text, "why": why, "tokens": tokens}
    return node | {"logprob": -2.0} | changes


TRACE = {
    "chosen": "p/1/0",
    "nodes": [
        extend("p/0", "one step", "stop"),
        extend("p/1", HOSTILE, "stop"),
        extend("p/1/0", "the answer"),
        extend("p/1/1", "not this", "length"),
        extend("p/0/0", "", "error"),
        {"kind": "score", "scorer": "value<b>", "scores": [["p/0", 0.25], ["p/1", 0.75]]},
        {"kind": "call", "method": "self_consistency", "answer": HOSTILE, "ended": "done", "nodes": [extend("p/x/0")]},
        {"kind": "run", "ended": "done"},
    ],
}
RESULT = Result(
    "p<i>",
    "beam_search",
    Answer(HOSTILE, {HOSTILE: 3.0, "391": 1.5} | {str(i): 0.5 for i in range(9)}, 0.5),
    Cost(tokens=1234, prefill=50, scores=2, sequential=99, seconds=1.25),
    trace=TRACE,
    caveats=("the seed <b>may</b> be ignored",),
)
COMPLETION = Completion(
    HOSTILE, (1, 2, 3), (-(1 << 20), -(1 << 24), -(1 << 26)), "stop", 7, stop="<b>",
    seed=5, texts=(HOSTILE[:9], "", HOSTILE[9:]), receipt="some",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=400), threads=1)


@pytest.mark.parametrize("value", [RESULT, COMPLETION], ids=["result", "completion"])
def test_hostile_texts_stay_texts(value):
    text = strict(value._repr_html_()).text
    assert "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;" in text
    assert "\ufffd" in text


def test_a_completion_shows_its_facts_and_its_text_once(model):
    for asked in ({}, {"logprobs": True}, {"logprobs": True, "stop": ["e"]}, {"receipt": True, "logprobs": True}):
        ((found,),) = model.generate("some", max_tokens=20, temperature=1.0, seed=5, **asked)
        shown = strict(found._repr_html_())
        assert without_controls(found.text.strip()) in shown.text
        assert f"ended: {found.finish}" in shown.text
        assert "seed 5" in shown.text
        assert "".join(found.texts) == (found.text if "logprobs" in asked else "")
        assert len(found.texts) == (len(found.tokens) if "logprobs" in asked else 0)
        assert ("Probability of each token" in shown.text) == ("logprobs" in asked)


def test_the_less_likely_a_token_the_stronger_its_colour():
    logs = [-0.01, -0.3, -1.0, -2.0, -5.0]
    scaled = tuple(round(value * 2**24) for value in logs)
    html = Completion("abcde", (1, 2, 3, 4, 5), scaled, "length", 1, texts=tuple("abcde"))._repr_html_()
    found = re.findall(r'<span(?: class="(p\d)")? title="([\d.]+%)">(.)</span>', html)
    assert found == [("", "99.00%", "a"), ("p4", "74.08%", "b"), ("p3", "36.79%", "c"), ("p2", "13.53%", "d"),
                     ("p1", "0.67%", "e")]  # fmt: skip


def test_a_completion_knows_its_seed_and_is_equal_without_it(model):
    one, other = (model.generate("some", max_tokens=3, seed=seed)[0][0] for seed in (1, 2))
    assert (one.seed, other.seed) == (1, 2)
    assert one == other  # greedy
    assert asyncio.run(model.achat([{"role": "user", "content": "some"}], seed=9)).seed == 9


def test_a_result_shows_answer_votes_cost_and_its_texts():
    found = strict(RESULT._repr_html_())
    facts = ("391", "1,234 tokens", "99 one after the other", "2 scores", "confidence 0.50", "and 3 more answers")
    for part in (*facts, "the answer", "value<b> 0.75", "self consistency: ", "the seed <b>may</b> be ignored"):
        assert part in found.text
    assert found.tags.count("circle") == 1 + 7
    assert found.tags.count("path") == 7


def test_the_way_to_the_answer_is_marked():
    html = RESULT._repr_html_()
    assert len(re.findall(r"<circle [^>]*winning", html)) == 3
    assert len(re.findall(r"<path [^>]*winning", html)) == 2
    assert len(re.findall(r'<circle class="wrong"', html)) == 1


def test_texts_are_drawn_apart_and_after_what_they_follow():
    drawing = draw_tree(TRACE)
    places = [(x, y) for _, x, y in drawing.nodes]
    assert len(set(places)) == len(places)
    assert {below for node, *_ in drawing.nodes for below in map(id, node.below)} == {
        id(node) for node, *_ in drawing.nodes[1:]
    }
    for node, x, y in drawing.nodes:
        assert 0 < x < drawing.width
        assert 0 < y < drawing.height
        for below in node.below:
            assert below.depth == node.depth + 1


def test_a_tree_of_any_depth_and_size_is_drawn_as_far_as_it_has_room():
    chain, branch = [], "p"
    for _ in range(5000):
        branch += "/0"
        chain.append(extend(branch, "x" * (LONGEST + 7)))
    html = dataclasses.replace(RESULT, trace={"nodes": chain, "chosen": branch})._repr_html_()
    assert f"{5000 - MOST:} more texts are not drawn" in html
    assert "… (7 characters more)" in html
    assert strict(html).tags.count("circle") == 1 + MOST
    forged = [extend("a", parent="b"), extend("b", parent="a")]
    assert len(draw_tree({"nodes": forged, "chosen": "a"}).nodes) == 1 + 2
    assert "<svg" not in dataclasses.replace(RESULT, trace={})._repr_html_()


def test_a_real_result_is_drawn(model):
    found = intact.solve(model, "beam_search", "some", n=4, width=2, max_tokens=12, steps=3, scorer="likelihood")
    assert strict(found._repr_html_()).tags.count("circle") > 4


def test_every_public_result_is_one_short_line(model):
    messages = [{"role": "user", "content": "some"}]
    long = "a long text\n" * 500
    state = State(long, ("p", 0), (Piece(long, tuple(range(3000)), model="main"), Piece(long)), "error", long)
    *_, chunk = model.chat_stream(messages, max_tokens=200, receipt=True, ignore_eos=True)
    solved = intact.solve(model, "self_consistency", "some", n=4, max_tokens=60, receipt=True)
    values = [
        model, chunk, chunk.receipt, model.chat(messages, max_tokens=200, logprobs=True, receipt=True), solved,
        solved.receipt, solved.answer, state, state.pieces[0], Problem(long, long), COMPLETION, RESULT,
        Result(long, "m", Answer(long, {long: 1.0}, None, state, {"x": long}), Cost(), "failed", long),
    ]  # fmt: skip
    for value in values:
        text = repr(value)
        assert len(text) < 400, text
        assert "\n" not in text
        assert text.startswith(type(value).__name__)
    assert repr(Chunk("a", 5, -3)).startswith("Chunk(text='a', token=5")
    assert repr(dataclasses.replace(COMPLETION, text="Blue.")) == "Completion('Blue.', stop, 3 tokens)"
    plain = dataclasses.replace(RESULT, answer=Answer("391", {"391": 3.0, "7": 1.0}))
    assert repr(plain) == "Result(beam_search, '391', 3 of 4 votes, 1234 tokens, done)"


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_notebook_shows_them_without_fault(dark):
    """In a page of a notebook's colours: no script runs, nothing is wider than the page, axe finds nothing."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    cells = COMPLETION._repr_html_() + RESULT._repr_html_()
    colours = "background: #111; color: #ddd" if dark else "background: #fff; color: #111"
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 390, "height": 900})
        said = complaints(page)
        page.set_content(
            f'<!doctype html><html lang="en"><title>Notebook</title><body style="{colours}"><main><h1>Cells</h1>{cells}'
        )
        page.click("summary")
        assert overflow(page) == 0
        found = axe.Axe().run(page).response["violations"]
        assert [violation["id"] for violation in found] == []
        assert said == []
