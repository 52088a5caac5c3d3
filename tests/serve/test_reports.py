"""Results of `intact eval` in the page: two runs beside each other, samples, trees, filters, the server's report."""

import json
from pathlib import Path

import httpx
import pytest

from intact.evaluate.files import traces_of, write
from intact.evaluate.plan import plan
from intact.evaluate.run import evaluate
from intact.tasks.choose import choose
from support.browser import browser, complaints, overflow
from support.script import ScriptBackend

QUESTIONS = {"2 + 2?": "4", "3 + 3?": "6", "5 + 5?": "10", "7 + 7?": "14"}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The result files of two runs with one sample and three: the first gets one problem wrong, the second none."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "gsm8k").mkdir()
    rows = [{"question": question, "answer": f"#### {answer}"} for question, answer in QUESTIONS.items()]
    for split in ("train", "test"):
        (folder / "gsm8k" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTACT_DATA", str(folder))
        for name, wrong, n in (("one", "7 + 7?", 1), ("three", None, 3)):

            def solve(prompt, text, place, wrong=wrong):
                question = next(one for one in reversed(QUESTIONS) if one in prompt)
                return f"I add {HOSTILE}. The answer is {0 if question == wrong else QUESTIONS[question]}."

            planned = plan([choose("gsm8k")], "self_consistency", {"n": n})
            write(evaluate({"script": ScriptBackend(solve)}, planned), folder / f"{name}.jsonl", {})
            made.append(folder / f"{name}.jsonl")
    return made


def document(path, **more):
    return {"name": path.name, "result": path.read_text("utf-8"), **more}


def make(server, runs, **more):
    return httpx.post(server.url + "/v1/reports", json={"runs": runs, **more})


def test_the_report_is_that_of_the_command(server, results):
    from intact.evaluate.files import read
    from intact.evaluate.report.contents import as_list, report

    runs = [document(path, traces=traces_of(path).read_text("utf-8")) for path in results]
    answer = make(server, runs, title="Two runs").json()
    own = report({Path(path.name): read(path) for path in results}, "Two runs")
    assert answer["sections"] == json.loads(json.dumps(as_list(own)))
    assert answer["title"] == "Two runs"
    assert answer["html"].startswith("<!doctype html>")
    assert HOSTILE not in answer["html"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../one.jsonl"}, "name"),
        ({"name": "one.traces"}, "name"),
        ({"result": "{}\n"}, "one.jsonl is not a result file of `intact eval`"),
        ({"result": '{"format":"intact evaluation","version":9}\n'}, "one.jsonl has version 9"),
        ({"traces": "{}\n"}, "one.traces.jsonl does not belong to its result file"),
    ],
)
def test_a_file_that_is_no_result_is_refused_by_its_name(server, results, change, message):
    answer = make(server, [document(results[0]) | change])
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"] + str(answer.json()["error"]["param"])
    assert "/tmp" not in answer.text


def test_a_file_twice_or_too_many_files_are_refused(server, results):
    assert "given twice" in make(server, [document(results[0])] * 2).json()["error"]["message"]
    assert make(server, [document(results[0])] * 9).status_code == 400
    assert make(server, []).status_code == 400


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium, server):
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    said = complaints(opened)
    opened.goto(server.url)
    opened.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    opened.click("#report-open")
    yield opened
    assert said == []
    context.close()


@pytest.mark.slow
def test_two_runs_are_compared_problem_by_problem_with_their_texts(page, results):
    page.set_input_files("#report-file", [*results, *map(traces_of, results)])
    page.wait_for_selector("#report-problems tbody tr:nth-child(4)")
    assert page.inner_text("#report-count") == "4 of 4 problems"
    assert page.locator("#report-scores tbody tr").count() >= 2
    page.select_option("#report-filter", "differ")
    assert page.inner_text("#report-count") == "1 of 4 problems"
    assert page.locator("#report-problems tbody td").all_inner_texts()[3:] == ["0", "✗ wrong", "14", "✓ right"]
    page.click("#report-problems .problem")
    tables = page.locator("#report-problem-view .results")
    assert [tables.nth(side).locator("tbody tr").count() for side in (0, 1)] == [1, 3]
    assert page.locator("#report-problem-view .tree > li").count() == 4
    assert HOSTILE in page.locator("#report-problem-view .tree .text").first.text_content()
    assert page.locator("#report img").count() == 0
    page.select_option("#report-filter", "all")
    page.fill("#report-find", "14")
    assert page.inner_text("#report-count") == "1 of 4 problems"
    assert overflow(page) <= 0


@pytest.mark.slow
def test_the_full_report_is_shown_and_saved(page, results, tmp_path):
    page.set_input_files("#report-file", results)
    page.wait_for_selector("#report-problems tbody tr")
    page.click("#report-make")
    page.wait_for_selector("#report-sections details")
    titles = page.locator("#report-sections details summary").all_inner_texts()
    assert "Problems" in titles
    with page.expect_download() as saved:
        page.click("#report-sections button")
    saved.value.save_as(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.slow
def test_damaged_files_are_refused_by_the_page(page, results, tmp_path):
    lines = results[0].read_text("utf-8").split("\n")
    record = json.loads(lines[1])
    for name, text, message in (
        ("none.jsonl", "{", "none.jsonl, line 1 is not JSON"),
        ("other.jsonl", "{}\n{}", "other.jsonl is not a result file of intact eval"),
        ("cut.jsonl", "\n".join(lines[:2]), "cut.jsonl is truncated"),
        ("task.jsonl", "\n".join([lines[0], json.dumps(record | {"task": 7}), *lines[2:]]), "names task 7"),
        (
            "kind.jsonl",
            "\n".join([lines[0], json.dumps(record | {"id": 3}), *lines[2:]]),
            "record 1.id must be a string",
        ),
        ("a.traces.jsonl", "{}", "choose the result file too"),
    ):
        (tmp_path / name).write_text(text, "utf-8")
        page.set_input_files("#report-file", tmp_path / name)
        page.wait_for_function(
            "text => document.getElementById('report-problem').textContent.includes(text)", arg=message
        )
    traces = traces_of(results[0]).read_text("utf-8").split("\n")
    (tmp_path / "bad.jsonl").write_text(results[0].read_text("utf-8"), "utf-8")
    (tmp_path / "bad.traces.jsonl").write_text("\n".join(['{"nodes": 3}', *traces[1:]]), "utf-8")
    page.set_input_files("#report-file", [tmp_path / "bad.jsonl", tmp_path / "bad.traces.jsonl"])
    page.click("#report-problems tbody tr:first-child .problem")
    assert "The trace of this problem is damaged" in page.inner_text("#report-problem-view")
