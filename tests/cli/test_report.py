"""``intact report`` on runs of a tiny random model: what it says, that it needs nothing else, and how it looks."""

import hashlib
import json
import math
import re
import shutil
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from intact.cli.app import app
from intact.evaluate import files
from intact.evaluate.report.markdown import EXAMPLES
from support.report_runs import few_resamples  # noqa: F401
from support.tiny import write_tiny

pytestmark = pytest.mark.usefixtures("few_resamples")

HOSTILE = '<script>alert(1)</script> & "quotes" | pipes'


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Result files: a vote, a single text, other problems, other weights."""
    folder = tmp_path_factory.mktemp("report")
    rows = [{"question": f"What is {i} + {i}? {HOSTILE}", "answer": f"#### {i % 10}"} for i in range(8)]
    data = folder / "data" / "gsm8k"
    data.mkdir(parents=True)
    write_tiny(folder / "tiny.gguf", context=2048)
    write_tiny(folder / "other.gguf", seed=1)

    def run(name, model, *words, rows=rows, task="gsm8k"):
        (data / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = ["eval", folder / model, task, "--max-tokens", "32", *words, "--out", folder / name]
        environment = {"INTACT_DATA": str(folder / "data"), "COLUMNS": "100"}
        result = CliRunner().invoke(app, list(map(str, words)), env=environment, prog_name="intact")
        assert result.exit_code == 0, result.stderr
        return folder / name

    return {
        "vote": run("vote.jsonl", "tiny.gguf", "--method", "self_consistency", "-n", "6"),
        "greedy": run("greedy.jsonl", "tiny.gguf"),
        "followed": run("followed.jsonl", "tiny.gguf", "--partial"),
        "other": run("other.jsonl", "other.gguf"),
        "base": run("base.jsonl", "tiny.gguf", task="gsm8k:style=base"),
        "float": run("float.jsonl", "tiny.gguf", "--profile", "fp32"),
        "changed": run("changed.jsonl", "tiny.gguf", rows=[{**rows[0], "answer": "#### 77"}, *rows[1:]]),
    }


def test_watching_survives_that_a_run_ends_between_a_look_and_its_reading(runs, intact_command, tmp_path, monkeypatch):
    run, part = tmp_path / "run.jsonl", tmp_path / "run.part.jsonl"
    read = files.read
    looks = []

    def wait(seconds):
        """At first nothing is there; then a part of the run."""
        looks.append(seconds)
        shutil.copy(runs["greedy"], part)

    def ends(path):
        if path == part:
            part.rename(run)
        return read(path)

    monkeypatch.setattr("time.sleep", wait)
    monkeypatch.setattr(files, "read", ends)
    result = intact_command("report", run, "--watch", "--out", tmp_path / "report.html")
    assert result.code == 0, result.err
    assert f"waiting for {run}" in result.err.replace("\n", "")
    assert len(looks) == 2
    assert "1 of 1 runs are complete" in result.err


@pytest.fixture
def report(intact_command, tmp_path):
    def make(*files, out="report.html", code=0):
        result = intact_command("report", *files, "--out", tmp_path / out, "--json")
        assert result.code == code, result.err
        return result.err if code else (tmp_path / out).read_text()

    return make


def test_what_was_kept_of_a_run_meanwhile_changes_no_byte_and_is_gone_in_the_end(runs, intact_command, tmp_path):
    assert runs["followed"].read_bytes() == runs["greedy"].read_bytes()
    assert not list(runs["followed"].parent.glob("*.part.jsonl"))
    result = intact_command("report", runs["followed"], "--watch", "--out", tmp_path / "report.html")
    assert result.code == 0
    assert "1 of 1 runs are complete" in result.err
    assert 'http-equiv="refresh"' not in (tmp_path / "report.html").read_text()


def test_scores_and_differences_are_printed_and_no_file_is_written(runs, intact_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = intact_command("report", runs["vote"], runs["greedy"], runs["changed"])
    assert result.code == 0, result.err
    rows = [re.split(r"  +", line.strip()) for line in result.out.splitlines() if line.startswith(" self_consistency")]
    records = [json.loads(line) for line in runs["vote"].read_text().splitlines()[1:-1]]
    right, tokens = sum(one["correct"] for one in records), sum(one["cost"]["tokens"] for one in records)
    assert [(row[0], row[1], *row[3:]) for row in rows] == [
        ("self_consistency n=6 (vote)", f"{right / 8:.1%}", "8", f"{tokens:,}")
    ]
    told = " ".join(result.out.split())
    assert "self_consistency n=6 (vote) − chain_of_thought (greedy) on gsm8k: " in told
    assert "are not compared: their problems have the same names but are not the same." in told
    assert list(tmp_path.iterdir()) == []


def test_a_machine_is_stated_in_the_report(report, runs):
    assert "At the rates given a problem would take" in report(runs["greedy"], "--machine", "read=400,write=60")
    assert "a machine must be gmacs_per_s=NUMBER,gb_per_s=NUMBER" in report(runs["greedy"], "--machine", "fast", code=2)


class Page(HTMLParser):
    """The page's elements, and whether each that opens is closed."""

    EMPTY = ("meta", "br", "img", "path", "use", "rect")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.links, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href") and v]
        self.ids += [v for k, v in attributes if k == "id"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_a_report_has_all_parts_in_one_file_that_needs_nothing_else(report, runs):
    text = report(runs["vote"], runs["greedy"])
    page = Page(text)
    assert not page.open
    assert not {"script", "link", "iframe", "img", "image"} & set(page.seen)
    assert all(link.startswith("#") for link in page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "url(http" not in text
    for title in ("Scores", "Comparisons", "Scaling", "Cost and accuracy", "Calibration", "Problems", "Failures"):
        assert f">{title}</h2>" in text
    assert text.count("<svg") == 4
    assert "self_consistency n=6 − chain_of_thought" in text
    assert "intact eval tiny.gguf gsm8k --method self_consistency --set n=6 --max-tokens 32 --out vote.jsonl" in text
    assert report(runs["vote"], runs["greedy"]) == text


def test_failures_open_as_trees_of_texts_and_nothing_in_them_becomes_markup(report, runs):
    text = report(runs["vote"])
    _, *records, _ = map(json.loads, runs["vote"].read_text().splitlines())
    wrong = [record for record in records if not record["correct"]]
    assert text.count("<details>") == len(wrong) + sum(len(record["samples"]) for record in wrong)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quotes&#34;" in text
    assert "<script" not in text


def test_what_differs_besides_is_flagged_and_what_cannot_be_compared_is_not(report, runs, tmp_path):
    assert "differ in their weights too" in report(runs["greedy"], runs["other"])
    assert "differ in their prompts too" in report(runs["greedy"], runs["base"])
    text = report(runs["greedy"], runs["float"])
    assert "differ in their profiles too" in text
    assert "--max-tokens 32 --profile fp32 --out float.jsonl" in text
    told, *rest = runs["greedy"].read_text().splitlines(keepends=True)
    manifest = json.loads(told)
    manifest["models"][0]["template"] = "0" * 64
    (tmp_path / "template.jsonl").write_text(json.dumps(manifest) + "\n" + "".join(rest))
    assert "differ in their chat templates too" in report(runs["greedy"], tmp_path / "template.jsonl")
    text = report(runs["greedy"], runs["changed"])
    assert "are not compared: their problems have the same names but are not the same" in text
    assert "McNemar's exact test" not in text


def changed(path, folder, manifest=lambda _: None, record=lambda _, __: None):
    """A result file like another but for what is changed in its manifest and in each of its records."""
    first, *records, last = map(json.loads, path.read_text().splitlines())
    manifest(first)
    for i, one in enumerate(records):
        record(i, one)
    (folder / path.name).write_text("".join(json.dumps(one) + "\n" for one in (first, *records, last)))
    return folder / path.name


def row_of(text, first, section):
    """The cells of the row that begins so, of the table in a section of a report in Markdown."""
    lines = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0].splitlines()
    (row,) = [line for line in lines if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_what_a_run_warns_of_is_a_warning_in_its_report(report, runs, tmp_path):
    path = changed(runs["greedy"], tmp_path, lambda manifest: manifest["caveats"].append("beware"))
    assert '<p class="warning">greedy.jsonl: beware</p>' in report(path)


def test_costs_are_means_over_the_problems(report, runs, tmp_path):
    def costly(i, record):
        record["cost"]["operations"] = (i + 1) * 10**9

    files = [changed(runs[name], tmp_path, record=costly) for name in ("vote", "greedy")]
    text = report(*files, out="report.md")
    for name in ("self\\_consistency n=6", "chain\\_of\\_thought"):
        assert row_of(text, name, "Cost and accuracy")[3] == "4.5"  # of eight problems, 1 to 8


def test_single_answers_are_compared_exactly_and_shares_by_resampling(report, runs):
    """An exact test has a p-value, and the bootstrap has none."""
    text = report(runs["greedy"], runs["other"], out="report.md")
    (row,) = [line for line in text.splitlines() if line.startswith("| ") and " − " in line]
    assert re.fullmatch(r"[\d.e-]+", row.strip("| ").rpartition("|")[2].strip())


def test_problems_that_all_or_none_solve_are_counted(report, runs):
    text = report(runs["vote"], runs["greedy"], out="report.md")
    never, of, always = map(int, re.search(r"(\d+) of (\d+) problems are never solved, (\d+) always\.", text).groups())
    records = [[json.loads(line) for line in runs[name].read_text().splitlines()[1:-1]] for name in ("vote", "greedy")]
    solved = [
        (sum(sample["correct"] for sample in vote["samples"]) / 6, float(single["correct"]))
        for vote, single in zip(*records, strict=True)
    ]
    assert (never, of, always) == (sum(max(s) == 0 for s in solved), 8, sum(min(s) == 1 for s in solved))


def test_a_report_in_markdown_has_its_pictures_beside_it(report, runs, tmp_path):
    text = report(runs["vote"], runs["greedy"], out="report.md")
    pictures = re.findall(r"!\[[^\]]+\]\((report-\d\.svg)\)", text)
    assert len(pictures) == 4
    assert all((tmp_path / name).read_text().startswith("<svg") for name in pictures)
    assert all(
        line.count(" | ") == 6 for line in text.splitlines() if line.startswith("| self\\_consistency n=6 | gsm8k |")
    )


def test_markdown_has_a_line_of_a_handful_of_failures(report, runs):
    text = report(runs["vote"], out="report.md")
    _, *records, _ = map(json.loads, runs["vote"].read_text().splitlines())
    wrong = [record for record in records if not record["correct"]]
    assert len(wrong) > EXAMPLES
    assert f"{len(wrong)} of {len(records)} wrong." in text
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert [line.partition(":")[0].removeprefix("- ") for line in lines[:-1]] == [one["id"] for one in wrong[:EXAMPLES]]
    for line, one in zip(lines, wrong[:EXAMPLES], strict=False):
        right = sum(sample["correct"] for sample in one["samples"])
        assert line.endswith(f"; {right} of {len(one['samples'])} samples right")
    assert lines[-1] == f"- and {len(wrong) - EXAMPLES} more"


def test_files_of_version_1_are_still_read(report, runs, tmp_path):
    (tmp_path / "old.jsonl").write_text(runs["vote"].read_text().replace('"version":3', '"version":1', 1))
    assert "self_consistency" in report(tmp_path / "old.jsonl")


def test_files_that_are_no_results_are_named(report, runs, tmp_path):
    assert "no such file" in report(tmp_path / "nothing.jsonl", code=2)
    assert ".html or .md" in report(runs["vote"], out="report.pdf", code=2)
    assert "given twice" in report(runs["vote"], runs["vote"], code=2)
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9\n")
    assert "latin.jsonl cannot be read" in report(tmp_path / "latin.jsonl", code=2)
    lines = runs["vote"].read_text().splitlines(keepends=True)
    better, named = json.loads(lines[-1]), json.loads(lines[-1])
    better["scores"][0]["value"] = 0.99
    nearly = json.loads(lines[-1])
    nearly["scores"][0]["low"] = math.nextafter(nearly["scores"][0]["low"], 1)
    named["scores"][0]["metric"] = "beauty"
    for content, message in (
        ("{}\n", "is not a result file"),
        ("not json", "line 1 is not valid JSON"),
        (lines[0].replace('"version":3', '"version":9', 1), "has version 9"),
        ("".join(lines[:-1]), "is truncated"),
        ("".join([lines[0], *lines[2:]]), "should have 8 records, but has 7"),
        ("".join([lines[0], lines[1].replace('"answer"', '"reply"'), *lines[2:]]), "is damaged"),
        ("".join([lines[0], lines[1].replace('"correct":', '"correct":"no","x":'), *lines[2:]]), "correct is 'no'"),
        ("".join([lines[0], lines[1].replace('"task":0', '"task":7', 1), *lines[2:]]), "task number 7 does not exist"),
        ("".join([lines[0], lines[1].replace('"tokens":', '"tokens":"many","y":', 1), *lines[2:]]), "is damaged"),
        ("".join([*lines[:-1], lines[-1].replace('"value":', '"value":9.5,"was":', 1)]), "is damaged"),
        ("".join([*lines[:-1], json.dumps(better) + "\n"]), "accuracy of task 0 does not follow from the records"),
        ("".join([*lines[:-1], json.dumps(nearly) + "\n"]), "accuracy of task 0 does not follow from the records"),
        ("".join([*lines[:-1], json.dumps(named) + "\n"]), "beauty of task 0 does not follow from the records"),
        (
            "".join([lines[0], lines[1].replace('"cost":{', '"cost":{"x":"y",', 1), *lines[2:]]),
            "must contain only numbers",
        ),
        (
            "".join([lines[0], lines[1].replace('"logprob":', '"logprob":1e400,"y":', 1), *lines[2:]]),
            "the number 1e400",
        ),
        ("".join([lines[0], lines[1].replace('"cost":{', f'"cost":{{"x":1{"0" * 400},'), *lines[2:]]), "of a double"),
        ("".join([lines[0], lines[1].replace('"tokens":', f'"tokens":1{"0" * 400},"y":'), *lines[2:]]), "of a double"),
        ("[" * 100_000 + "\n", "is nested too deeply"),
        ("".join([lines[0].replace('"seeds"', '"seats"'), *lines[1:]]), "seeds"),
        ("".join([lines[0].replace('"digests":{', '"digests":{"items":1},"old":{'), *lines[1:]]), "items is 1"),
    ):
        (tmp_path / "bad.jsonl").write_text(content)
        assert message in report(tmp_path / "bad.jsonl", code=2)
    (tmp_path / "bad.jsonl").write_text("".join(lines))
    (tmp_path / "bad.traces.jsonl").write_text("{}\n")
    assert "does not belong to its result file" in report(tmp_path / "bad.jsonl", code=2)
    digest = hashlib.sha256(b"{}\n").hexdigest()
    last = json.loads(lines[-1]) | {"traces": digest}
    (tmp_path / "bad.jsonl").write_text("".join([*lines[:-1], json.dumps(last) + "\n"]))
    assert "bad.traces.jsonl is damaged" in report(tmp_path / "bad.jsonl", code=2)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a browser: chromium is not on the PATH")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def shown(runs, tmp_path_factory):
    """A report of three runs."""
    file = tmp_path_factory.mktemp("shown") / "report.html"
    words = ["report", *map(str, (runs["vote"], runs["greedy"], runs["other"])), "--out", str(file)]
    assert CliRunner().invoke(app, words, prog_name="intact").exit_code == 0
    return file


@pytest.mark.parametrize("width", [*(pytest.param(one, marks=pytest.mark.slow) for one in (1200, 390)), 768, 320])
def test_a_browser_shows_it_without_errors_requests_or_overflow(browser, shown, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith("file:") or complaints.append(request.url))
    page.goto(f"file://{shown}")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1)"
    assert page.evaluate(f"{wide}.map(one => one.tagName + ' ' + one.textContent.slice(0, 40))") == []
    assert page.evaluate("[...document.querySelectorAll('figure svg')].every(one => one.clientHeight > 40)")
    page.close()
