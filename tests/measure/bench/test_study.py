"""The study's tables by difficulty, of exponents and factors, its page, its repeated rows, and its script of runs."""

import argparse
import importlib
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from intact.evaluate.report.html import html
from intact.stats import mcnemar, smallest_difference
from intact.stats.budget_split import best_verified_at
from support.tiny import write_evaluated, write_tiny

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """Import benchmarks by name, and forget all of them afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).parent == BENCHMARKS:
            sys.modules.pop(name)


def pool(bench, name: str, answers: list[int], right: list[int]):
    return bench("pools").Pool("set", "m", name, answers, right, list(range(len(right))))


@pytest.fixture
def data(bench, tmp_path):
    """Two problems with eight texts: one is easy in the first half and hard in the second, the other the reverse."""
    difficulty, scaling = bench("difficulty"), bench("scaling")
    pools = [
        pool(bench, "p/0", [1, 1, 1, 2, 2, 2, 2, 2], [1, 1, 1, 0, 0, 0, 0, 0]),
        pool(bench, "p/1", [2, 2, 2, 2, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]),
    ]
    records = scaling.Records(tmp_path / "rows.jsonl")
    for name, right in (("p/0", True), ("p/1", False)):
        figures = (right, 100, 50, 10**9, 1.0, "done", "")
        records.add(scaling.Outcome(difficulty.SMALL, "UCT", "text=512", name, *figures))
    return difficulty.Study(pools, records)


def test_difficulty_comes_from_texts_that_are_not_scored(bench, data):
    difficulty = bench("difficulty")
    one, vote = difficulty.Setting("one sample", "m", 1, texts=1), difficulty.Setting("a vote of 4", "m", 4, texts=4)
    assert data.accuracy(0).tolist() == [0.0, 1.0]  # of the second halves
    assert data.values(one, 0).tolist() == [0.75, 0.0]  # of the first
    assert data.accuracy(1).tolist() == [0.75, 0.0]
    assert data.values(one, 1).tolist() == [0.0, 1.0]
    assert data.values(vote, 0).tolist() == [1.0, 0.0]
    assert data.values(vote._replace(texts=5), 0) is None  # more than a half has
    row = difficulty.Setting("UCT", difficulty.SMALL, 4, "UCT", "text=512")
    assert data.values(row, 0).tolist() == [1.0, 0.0]
    assert data.values(row, 1) is None  # its drafts are those of the first half
    assert data.costs(row) == (1e9, 0.5)
    assert difficulty.bins_of(np.array([0.0, 0.1, 0.125, 0.3, 0.375, 0.4, 1.0])).tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_a_setting_is_not_scored_on_problems_that_chose_it(bench):
    choose = bench("difficulty").choose
    bins = np.repeat([0, 1], 40)
    easy, hard = (bins == 0).astype(float), (bins == 1).astype(float)
    found = choose({"easy": easy, "hard": hard, "both": np.full(80, 0.6)}, bins, splits=3)
    assert (found.by_bin, found.best) == (["easy", "hard"], "both")
    assert found.adaptive.tolist() == [1.0] * 80
    assert found.single.tolist() == pytest.approx([0.6] * 80)
    flattery = []
    for seed in range(10):
        noise = np.random.default_rng(seed).integers(0, 2, (12, 60)).astype(float)
        luck = choose({f"s{i}": row for i, row in enumerate(noise)}, np.zeros(60, int), splits=4)
        assert luck.adaptive.tolist() == luck.single.tolist()  # one bin
        flattery.append(noise.mean(axis=1).max() - luck.single.mean())
    assert np.mean(flattery) > 0.05  # the best by luck is not believed


def test_exponents_are_those_of_the_best_splits(bench):
    exponents = bench("exponents")
    pools = [pool(bench, f"p/{i}", [i % 3] * 16, [int((i + j) % 3 == 0) for j in range(16)]) for i in range(12)]
    good, blind = (exponents.supposed(pools, q, 0.2, checks=3, most=8) for q in (1 - 1e-9, 0.5))
    assert good.rates == (1.0, 0.0)
    assert blind.rates == (pytest.approx(0.5, abs=0.1), pytest.approx(0.5, abs=0.1))
    grid = exponents.accuracy(blind)
    assert grid.shape == (12, 8, 3)
    assert grid[4, :, 1].tolist() == best_verified_at(blind.values[4], blind.right[4], 2).tolist()
    fit = exponents.fit(exponents.accuracy(good), 0.2, (1.2, 2.4, 3.6))
    assert fit.solving[0] == pytest.approx(1.0, abs=0.02)  # a second verdict adds nothing to a perfect one
    assert fit.verifying == (0.0, 0.0, 0.0, 0.0)


def test_the_recorded_verdicts_carry_no_exponent_of_verifying(bench):
    recorded = bench("exponents").recorded()
    assert {len(own) for problem in recorded.values for own in problem} == {1}
    assert recorded.rates == (pytest.approx(0.865, abs=0.01), pytest.approx(0.852, abs=0.01))


def test_an_effect_is_tested_exactly_where_problems_are_right_or_wrong(bench):
    factors = bench("factors")
    side = factors.Side("greedy")
    factor = factors.Factor("x", side, side)
    after, before = np.array([1.0] * 12 + [0.0] * 8), np.array([0.0] * 18 + [1.0] * 2)
    found = factors.effect_of(factor, after, before)
    assert found.p == mcnemar(after > 0, before > 0).exact
    assert found.detectable == smallest_difference(14 / 20, 20)
    mean = factors.effect_of(factor, after / 3, before)
    assert mean.detectable == bench("pools").detectable(after / 3 - before)


def test_factors_name_rows_that_are_recorded(bench):
    """Each side has its problems; a row that is renamed or withdrawn is found here."""
    factors = bench("factors")
    for factor in factors.FACTORS:
        both = set(factors.values(factor.before)) & set(factors.values(factor.after))
        assert len(both) >= 70, factor


def test_pools_are_replaced_and_cells_of_old_ones_measured_again(bench, tmp_path, monkeypatch):
    """64 texts give four disjoint groups of 16."""
    pools, verifiers = bench("pools"), bench("verifiers")
    monkeypatch.setattr(verifiers, "METHODS", ("best_of_n",))
    monkeypatch.setattr(verifiers, "GRID", (0.6, 1.0))
    monkeypatch.setattr(verifiers, "SEEDS", 1)
    stored, cells = tmp_path / "pools.jsonl", tmp_path / "cells.jsonl"

    def write(texts: int) -> None:
        made = [pool(bench, f"p/{i}", [0, 1] * (texts // 2), [i % 2, 0] * (texts // 2)) for i in range(3)]
        stored.write_text("".join(json.dumps(one._asdict()) + "\n" for one in made))

    write(16)
    verifiers.measure_all(stored, cells)
    first = [verifiers.Cell(**one) for one in verifiers.Lines(cells).all]
    assert [(cell.n, cell.groups) for cell in first] == [(4, 4), (4, 4), (16, 1), (16, 1)]
    content = cells.read_text()
    verifiers.measure_all(stored, cells)
    assert cells.read_text() == content  # nothing is measured twice
    write(64)
    verifiers.measure_all(stored, cells)
    second = [verifiers.Cell(**one) for one in verifiers.Lines(cells).all]
    assert [(cell.n, cell.groups) for cell in second] == [(4, 16), (4, 16), (16, 4), (16, 4)]
    assert {cell.pools for cell in second} == {pools.digest_of(pools.kept(stored))}
    assert second[0].detectable > 0


def test_a_row_is_repeated_to_the_byte(bench, tmp_path, monkeypatch, capsys):
    scaling, repeat = bench("scaling"), bench("repeat")
    place = write_evaluated(tmp_path, 3)
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))
    records, results = tmp_path / "records", tmp_path / "results"
    options = ["--problems", "3", "--max-tokens", "9", "--threads", "1", "--journal", str(tmp_path / "journal")]
    options += ["--records", str(records), "--results", str(results), "--methods", "self-consistency 4"]
    monkeypatch.setattr(sys, "argv", ["scaling.py", str(place / "tiny.gguf"), *options])
    scaling.main()
    with tarfile.open(records / "scaling.results.tar.xz", "w:xz") as archive:
        for path in results.iterdir():
            archive.add(path, path.name)
    capsys.readouterr()

    def run(way: str, *more: str) -> tuple[int, str]:
        words = ["repeat.py", "self-consistency 4", "--from", way, "--folder", str(records), *more]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            repeat.main()
        return end.value.code, capsys.readouterr().out

    model = ("--model", str(place / "tiny.gguf"), "--threads", "1")
    for way, more in (("model", model), ("results", ())):
        code, out = run(way, *more)
        assert (code, "the same to the byte" in out) == (0, True), out
        assert len({line.rpartition(" ")[2] for line in out.splitlines()[:2]}) == 1  # the digests
    code, out = run("journal", *model)
    assert "can be repeated from model, results, not from journal" in str(code)
    file = records / "gsm8k-0-0.7-9.jsonl"
    file.write_text(file.read_text().replace('"tokens": ', '"tokens": 1', 1))
    for way, more in (("model", model), ("results", ())):
        code, out = run(way, *more)
        assert code == 1
        assert "recorded: {" in out
    code, out = run("results", "--update")
    assert (code, "is updated" in out) == (1, True)
    code, out = run("results")
    assert code == 0  # the record is what was repeated
    assert "self-consistency 4" in repeat.listed(repeat.Source(records))


def test_rows_of_the_packed_journal_are_listed(bench):
    repeat = bench("repeat")
    ways = {(row.setup, row.budget, row.model, row.records): repeat.ways(row) for row in repeat.rows()}
    key = ("self-consistency 16", "", repeat.PACKED, "gsm8k-0-0.7-512")
    assert ways[key] == ["model", "journal"]
    assert ways["DVTS 4", "text=512", repeat.PACKED, "gsm8k-1-0.7-512"] == ["model", "results"]
    assert ways["self-consistency 64", "", repeat.PACKED, "gsm8k-0-0.7-512"] == ["model"]
    assert sum("results" in own for own in ways.values()) == 65


def test_the_journal_alone_writes_nothing(bench):
    repeat = bench("repeat")
    generation = argparse.Namespace(state=argparse.Namespace(branch=("gsm8k/test/7", 0)))
    with pytest.raises(SystemExit, match="lacks a text of gsm8k/test/7"):
        repeat.Sealed.start(object(), [generation])


def test_a_search_is_charged_without_the_scorer_that_stands_for_another(bench):
    scaling = bench("scaling")
    nodes = [
        {"kind": "extend", "branch": "p/0", "parent": "p", "tokens": 3, "operations": 30},
        {"kind": "call", "nodes": [{"kind": "extend", "branch": "p/0/s0/0", "parent": "p/0", "tokens": 9}]},
        {"kind": "extend", "branch": "p/0/0", "parent": "p/0", "tokens": 2, "operations": 25},
        {"kind": "extend", "branch": "p/1", "parent": "p", "tokens": 4, "operations": 35},
    ]
    cost = argparse.Namespace(tokens=18, sequential=12, operations=200, seconds=1.5)
    result = argparse.Namespace(cost=cost, trace={"nodes": nodes})
    valued, plain = (scaling.SETUPS[name] for name in ("beam search by values 0.75", "beam search 4"))
    assert scaling.spent_on(result, valued) == (9, 5, 90, 1.5)
    assert scaling.spent_on(result, plain) == (18, 12, 200, 1.5)


def test_a_vote_over_as_many_tokens_is_interpolated(bench):
    votes = np.array([[0.0, 0.5, 1.0], [1.0, 1.0, 0.0]])
    vote_at = bench("value_searches").vote_at
    assert vote_at(votes, 2.5).tolist() == [0.75, 0.5]
    assert vote_at(votes, 0.3).tolist() == [0.0, 1.0]
    assert vote_at(votes, 9.0).tolist() == [1.0, 0.0]


def test_the_page_is_one_file_without_scripts(bench, monkeypatch):
    page = bench("study_page")
    table = page.table_of("| a | [b](../c.md#d) |\n|---|---|\n| [x](y.md), [z](w) |  |")
    assert (table.head, table.rows) == (["a", "b"], [["x, z", ""]])
    kept = {name: page.SECTIONS[name] for name in ("Mechanisms", "Reproduce this page")}
    monkeypatch.setattr(page, "SECTIONS", kept)
    text = html(page.document())
    assert "<script" not in text
    assert 'name="viewport"' in text
    assert text.count("<svg") == 1
    assert "SMC 4" in text
    assert "repeat.py" in text


@pytest.mark.slow
def test_every_run_of_the_plan_goes_on_where_it_was_stopped(bench, tmp_path, monkeypatch):
    """With tiny models: all runs in order, then nothing is left to do; each result is used by its tables."""
    study = bench("next_study")
    place = write_evaluated(tmp_path, 3)
    large = write_tiny(tmp_path / "larger.gguf", seed=1)
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS.parent / "src"))
    args = argparse.Namespace(
        work=tmp_path / "work", model=place / "tiny.gguf", large=large, records=tmp_path / "records", only=None,
        list=False, hours=1.0, threads=1, quick=True,
    )  # fmt: skip
    begun = []
    run = study.Clock.run

    def stopping(clock, command):
        begun.append(command)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return run(clock, command)

    monkeypatch.setattr(study.Clock, "run", stopping)
    monkeypatch.setattr(study, "NICE", ())
    with pytest.raises(KeyboardInterrupt):
        study.run(args)
    assert study.run(args) == 0
    assert len([command for command in begun if "-n" in command]) == len({tuple(c) for c in begun if "-n" in c}) + 1
    done = [step.name for step in study.Plan(args).steps() if step.done()]
    assert done == [step.name for step in study.Plan(args).steps()]
    count = len(begun)
    assert study.run(args) == 0
    assert len(begun) == count  # all is done
    bench("pools").add("GSM8K", args.work / "gsm8k-0.5b.jsonl", to=tmp_path / "pools.jsonl")
    assert len(bench("pools").kept(tmp_path / "pools.jsonl")) == 2
    assert bench("exponents").recorded(args.work / "verdicts.jsonl").values


def test_runs_are_listed_in_the_order_of_the_plan(bench, tmp_path, capsys):
    study = bench("next_study")
    args = argparse.Namespace(
        work=tmp_path / "work", model=tmp_path / "a.gguf", large=tmp_path / "b.gguf", records=tmp_path / "records",
        only=None, list=True, hours=20.0, threads=None, quick=False,
    )  # fmt: skip
    assert study.run(args) == 0
    out = capsys.readouterr().out
    names = [line.partition(":")[0] for line in out.splitlines() if ": to do, about " in line]
    assert names[3:6] == ["values", "searches", "verdicts"]
    assert "best_of_n -n 64 --limit 300" in out
    assert not any(f"/{label}/" in out for label in bench("mechanisms").idle())
    args.only = "pool"
    with pytest.raises(SystemExit, match="no such run: pool; there are gsm8k"):
        study.run(args)
