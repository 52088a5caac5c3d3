"""The page's layout: its header, side panels, the end of long answers, the theme, the context meter."""

import itertools

import pytest

from support.browser import browser, overflow
from support.page import answered, ask, opened, paused

LONG_NAME = "a-model-with-a-very-long-name-that-no-header-can-hold-q4_k_m-instruct"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium, server):
    with opened(chromium, server) as found:
        yield found
    server.settle(server.idle)


@pytest.mark.parametrize("width", [320, 390, 1280, 1360, 1920])
def test_the_header_is_one_row_and_all_in_it_is_reached(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    ask(page, "What is 17 + 5?", tokens=2)
    answered(page)
    page.evaluate(
        """(name) => { const option = document.querySelector("#model option"); option.textContent = name; }""",
        LONG_NAME,
    )
    assert overflow(page) <= 0
    box = page.locator("header").bounding_box()
    assert box["height"] <= 60
    places = page.evaluate(
        """() => [...document.querySelectorAll("header > *")].filter((one) => (
            one.offsetParent && one.offsetWidth > 1 && getComputedStyle(one).position === "static"
        )).map((one) => {
            const { top, bottom, left, right } = one.getBoundingClientRect();
            return [left, right, (top + bottom) / 2];
        })"""
    )
    middles = [middle for _, _, middle in places if middle]
    assert max(middles) - min(middles) < 12
    assert all(first[1] <= second[0] + 0.5 for first, second in itertools.pairwise(places))
    assert places[-1][1] <= width
    if page.is_hidden("#runs-open"):
        page.click("#more")
    page.click("#receipts-open")
    assert page.is_visible("#receipts")


def test_the_menu_closes_by_escape_and_by_a_click_elsewhere(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#side .close") if page.is_visible("#side") else None
    for close in (lambda: page.press("#runs-open", "Escape"), lambda: page.click("#hint")):
        page.click("#more")
        assert page.get_attribute("#more", "aria-expanded") == "true"
        close()
        assert page.is_hidden("#runs-open")
        assert page.get_attribute("#more", "aria-expanded") == "false"


def test_a_window_that_narrows_is_not_covered_by_the_sidebar(page):
    assert page.is_visible("#side")
    page.set_viewport_size({"width": 600, "height": 800})
    page.wait_for_selector("#side", state="hidden")
    assert page.is_hidden("#shade")
    page.click("#menu")
    assert page.is_visible("#shade")
    page.mouse.click(580, 400)
    page.wait_for_selector("#side", state="hidden")
    page.set_viewport_size({"width": 1100, "height": 800})
    page.wait_for_selector("#side", state="visible")
    assert page.is_hidden("#shade")


@pytest.mark.parametrize("height", [500, 900])
@pytest.mark.slow
def test_the_last_buttons_are_seen_after_a_long_answer(page, height):
    page.set_viewport_size({"width": 800, "height": height})
    for number in range(1, 3):
        ask(page, "What is 17 + 5?", "self_consistency" if number == 2 else "", 8 if number == 2 else None, tokens=300)
        answered(page, number)
        page.wait_for_function(
            """() => { const end = document.getElementById("scroll").getBoundingClientRect().bottom;
                const last = [...document.querySelectorAll("article:last-child .actions button")];
                return last.every((one) => one.getBoundingClientRect().bottom <= end); }"""
        )


@pytest.mark.slow
def test_who_reads_further_up_is_left_there(page, server):
    ask(page, "What is 17 + 5?", tokens=400)
    answered(page)
    with paused(server, 20) as go_on:
        ask(page, "And twice that?", tokens=200)
        page.wait_for_selector("article.assistant[aria-busy]")
        page.hover("#scroll")
        page.mouse.wheel(0, -5000)
        page.wait_for_function("() => document.getElementById('scroll').scrollTop === 0")
        go_on()
        answered(page, 2)
    assert page.evaluate("document.getElementById('scroll').scrollTop") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_button_names_the_colours_that_it_switches_to(chromium, server, scheme):
    with opened(chromium, server, color_scheme=scheme) as page:
        first, second = ("Dark", "Light") if scheme == "light" else ("Light", "Dark")
        assert page.inner_text("#theme") == first
        page.click("#theme")
        assert page.inner_text("#theme") == second
        page.reload()
        assert page.inner_text("#theme") == second


def test_the_current_conversation_is_marked_from_its_first_question(page):
    for question in ("What is 17 + 5?", "Name a colour."):
        page.click("#fresh")
        ask(page, question, tokens=2)
        answered(page)
        assert page.locator("#conversations [aria-current]").all_text_contents() == [question]


def test_the_context_in_use_is_known_after_a_method(page, client):
    ask(page, "What is 17 + 5?", "best_of_n", 3)
    answered(page)
    page.wait_for_function("() => document.getElementById('context-bar').value > 0")
    chosen = page.evaluate("document.querySelector('article.assistant > .text').textContent")
    assert chosen
    used = page.evaluate("document.getElementById('context-bar').value")
    assert page.inner_text("#context-words") == f"{int(used):,} of 1,024 tokens"
    assert 12 < used < 100  # the question and one text, not all three with their prompts


@pytest.mark.slow
def test_a_new_conversation_asks_before_it_stops_an_answer(page, server):
    asked, accept = [], []
    page.on("dialog", lambda one: (asked.append(one.message), one.accept() if accept else one.dismiss()))
    with paused(server, 5):
        ask(page, "What is 17 + 5?", tokens=900)
        page.wait_for_selector("article.assistant[aria-busy]")
        page.click("#fresh")
        assert "Stop it" in asked[0]
        assert page.locator("article.assistant[aria-busy]").count() == 1
        accept.append(True)
        page.click("#fresh")
        page.wait_for_function("() => !document.querySelector('article')")
        assert len(asked) == 2
    server.settle(server.idle)
    page.click("#fresh")
    assert len(asked) == 2  # nothing is being written
