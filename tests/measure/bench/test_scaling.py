"""benchmarks/scaling.py and scaling_tables.py: comparisons of rows, and the pages that show them."""

import importlib
import sys
from pathlib import Path

import pytest

from intact.evaluate.results import ItemRecord, ItemSample
from intact.stats import holm, mcnemar, smallest_difference

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
MODULES = ("scaling_tables", "mechanisms", "pools", "verifiers", "scaling", "scaling_setups", "common")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("scaling_tables")
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def scaling(tables):
    return sys.modules["scaling"]


def outcomes(scaling, setup: str, right: str, tokens: int = 10):
    """A row with a problem for each mark of `right`, 1 or 0."""
    return [
        scaling.Outcome("m", setup, "", f"set/{place}", mark == "1", tokens, tokens, 10**9, 1.0, "", "")
        for place, mark in enumerate(right)
    ]


def test_a_row_is_compared_on_the_problems_of_both(scaling):
    base = outcomes(scaling, "greedy", "0" * 20 + "1" * 10)
    row = scaling.row_of(outcomes(scaling, "vote", "1" * 12 + "0" * 8), base)
    assert (row.problems, row.correct, row.beyond.mean) == (20, 12, 0.6)
    assert row.beyond.p == mcnemar([True] * 12 + [False] * 8, [False] * 20).exact
    assert row.beyond.detectable == smallest_difference(0.6, 20)
    assert scaling.row_of(base, base).beyond is None
    assert scaling.row_of(base, []).beyond is None


def test_a_table_corrects_p_values_over_its_rows_and_marks_what_is_unlike_them(scaling):
    base = outcomes(scaling, "greedy", "0" * 30)
    good = scaling.row_of(outcomes(scaling, "vote", "1" * 9 + "0" * 21), base)
    even = scaling.row_of(outcomes(scaling, "search", "1" * 2 + "0" * 8), base)
    _, _, *lines = scaling.table([scaling.row_of(base, base), good, even], "greedy").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0] for row in cells] == ["greedy", "vote", "search, 10 problems"]
    corrected = holm([good.beyond.p, even.beyond.p]).p
    assert [row[3] for row in cells] == ["", *(f"{p:.2g}" for p in corrected)]
    assert corrected[0] == 2 * good.beyond.p


def kept(*branches: str, answer: str = "1", answers: str = "", cut: str = ""):
    """A kept result whose texts have these branches below the problem's."""
    samples = [
        {"branch": f"set/0{branch}", "answer": answers[i : i + 1] or None, "cut": cut[i : i + 1] == "x"}
        for i, branch in enumerate(branches)
    ]
    return {"id": "set/0", "answer": answer, "samples": samples}


@pytest.mark.parametrize(
    ("sign", "record", "seen"),
    [
        ("branched", kept("/0/0/0", "/1/0"), False),
        ("branched", kept("/0/0/0", "/0/1"), True),
        ("branched", kept("/0", "/1", "/2"), False),  # draws of the problem's own prompt
        ("extended", kept("/0", "/1"), False),
        ("extended", kept("/0", "/0/0"), True),
        ("changed", kept("/0", "/1", answers="12", answer="1"), False),
        ("changed", kept("/0", "/1", answers="12", answer="2"), True),
        ("changed", kept("/0", "/1", answers="21", answer="1", cut="x"), False),  # the first has not ended
        ("changed", kept("/0", answer="2"), False),
        ("stopped", kept("/0", "/1", cut=" x"), True),
        ("stopped", kept("/0", "/1"), False),
        ("saved", kept("/0", "/1"), True),
        ("saved", kept("/0", "/1", "/2"), False),
        ("several", kept("/0"), False),
        ("several", kept("/0", "/1"), True),
    ],
)
def test_the_sign_of_a_mechanism_is_seen_in_the_kept_texts(tables, sign, record, seen):
    assert getattr(sys.modules["mechanisms"], sign)(record, 3) == seen


def test_rows_whose_mechanism_was_not_exercised_are_marked(tables):
    mechanisms = sys.modules["mechanisms"]
    found = {row.label: row for row in mechanisms.exercises()}
    assert (found["SMC 4"].seen, found["SMC 4"].problems) == (0, 300)
    assert mechanisms.idle() == {"SMC 4", "adaptive sampling 4", "resample until verified 4", "self-refine"}
    assert tables.marked("SMC 4") == tables.linked("SMC 4") + ", [not exercised](#mechanisms)"
    assert tables.marked("REBASE 4") == tables.linked("REBASE 4") == "[REBASE 4](../docs/methods/rebase.md)"
    assert [row.share for row in found.values()] == sorted(row.share for row in found.values())


def test_a_pool_is_what_decides_of_each_sample(tables):
    pools = sys.modules["pools"]
    samples = [
        ItemSample(f"p/{place}", answer, correct, 3, -1.0, "end", {}, rewards={"likelihood": reward})
        for place, (answer, correct, reward) in enumerate(
            [("4", True, -0.5), ("5", False, -0.1), (None, False, -0.9), ("4", True, -0.1)]
        )
    ]
    record = ItemRecord(0, 0, "p", "4", "4", True, 0, 0.5, {}, {}, "done", "", tuple(samples), True)
    pool = pools.Pool.of("set", "model-0.5b.gguf", record)
    assert (pool.answers, pool.right, pool.places) == ([0, 1, None, 0], [1, 0, 0, 1], [2, 0, 3, 1])
    found = {k: {name: float(one) for name, (one,) in pools.shares([pool], k).items()} for k in (1, 2, 4)}
    assert found[1] == {pools.VOTE: 0.5, pools.LIKELIEST: 0.5, pools.ANY: 0.5}
    assert found[2][pools.LIKELIEST] == pytest.approx(3 / 6)  # the two right ones, and either of them with no answer
    assert found[2][pools.VOTE] == pytest.approx((1 + 2 + 2 / 2) / 6)  # of one vote each, both have a half
    assert found[4] == {pools.VOTE: 1.0, pools.LIKELIEST: 0.0, pools.ANY: 1.0}


@pytest.mark.slow
def test_pages_show_what_the_records_say(tables):
    """`python benchmarks/scaling_tables.py` writes them."""
    assert [path.name for path, text in tables.pages() if path.read_text("utf-8") != text] == []


def test_a_place_for_a_table_is_filled_and_the_rest_kept(tables):
    page = "a\n<!-- scaling: one -->\nold\n<!-- end of scaling -->\nb\n<!-- scaling: two -->\n<!-- end of scaling -->\n"
    drawn = {"one": "| 1 |", "two": "| 2 |"}
    text = tables.filled(page, drawn.__getitem__)
    assert text.replace("| 1 |", "old").replace("| 2 |\n", "") == page
    assert tables.filled(text, drawn.__getitem__) == text


def test_every_page_of_a_method_has_what_was_measured_or_says_why_not(tables):
    from intact.reason.registry import all_methods

    lacking = []
    for name in all_methods():
        text = (tables.ROOT / "docs" / "methods" / f"{name}.md").read_text("utf-8")
        if not ("**Measured" in text or "Measured on" in text or "**Not measured**" in text):
            lacking.append(name)
    assert lacking == []


def test_no_problem_of_a_row_is_recorded_twice(scaling, tmp_path):
    for path in sorted((BENCHMARKS.parent / "study" / "records").glob("*-512.jsonl")):
        scaling.Records(path)
    path = tmp_path / "twice.jsonl"
    records = scaling.Records(path)
    for outcome in outcomes(scaling, "vote", "1") * 2:
        records.add(outcome)
    with pytest.raises(ValueError, match="contains a record twice: m vote  set/0"):
        scaling.Records(path)
