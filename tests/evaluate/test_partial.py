"""Results so far, and reports that follow them."""

import json
import threading

import pytest

from intact.cli import report as command
from intact.evaluate import partial
from intact.evaluate.files import partial_of, read
from intact.evaluate.plan import Unit
from intact.evaluate.report.contents import report
from intact.evaluate.results import EvaluationRun
from intact.evaluate.scores import scores
from intact.evaluate.work import Done
from intact.tasks.choose import choose
from support.report_runs import MANIFEST, arm


class Planned:
    """What a partial result needs of a plan."""

    tasks = (choose("gsm_ranges"),)


@pytest.fixture
def records():
    about = {"arithmetic_error": 0.0, "logical_error": 0.0}
    cost = {"tokens": 10, "prefill": 3, "operations": 1, "sequential": 10}
    made = arm([[{"correct": place % 3 == 0, "steps": ()}] for place in range(12)])
    return [record._replace(measures=about, cost=cost) for record in made.records]


@pytest.fixture
def manifest():
    return MANIFEST | {"records": 12, "method": MANIFEST["method"] | {"sampling": {}}}


def done(place, record):
    return Done(Unit(0, 0, place), record, "{}")


def test_what_there_is_is_a_result_file_in_the_order_of_problems(records, manifest, tmp_path):
    so_far = partial.PartialResult(tmp_path / "r.jsonl", Planned, manifest, every=0)
    for place in (7, 2, 5):
        so_far.add(done(place, records[place]))
    so_far.write()
    found = read(tmp_path / "r.part.jsonl")
    assert [record.id for record in found.records] == ["p2", "p5", "p7"]
    assert found.manifest["planned"] == 12
    (summary,) = [one for one in report({tmp_path / "r.jsonl": found}).sections if one.title == "In short"]
    assert summary.blocks[0].text.startswith("So far, with 3 of 12 answers of the run: made.gguf answered the 3 ")
    so_far.remove()
    assert not partial_of(tmp_path / "r.jsonl").exists()


def test_undecided_verdicts_wait_for_the_result(records, manifest, tmp_path):
    so_far = partial.PartialResult(tmp_path / "r.jsonl", Planned, manifest, every=0)
    so_far.add(done(0, records[0]._replace(correct=None)))
    assert not so_far.path.exists()
    so_far.add(done(1, records[1]))
    assert len(read(so_far.path).records) == 1


def test_a_partial_result_is_written_seldom(records, manifest, tmp_path):
    so_far = partial.PartialResult(tmp_path / "r.jsonl", Planned, manifest, every=1000)
    for place in range(5):
        so_far.add(done(place, records[place]))
    assert len(read(so_far.path).records) == 1


def test_a_report_follows_runs_until_all_are_complete(records, manifest, tmp_path):
    run, other = tmp_path / "r.jsonl", tmp_path / "s.jsonl"
    so_far = partial.PartialResult(run, Planned, manifest, every=0)
    so_far.add(done(0, records[0]))
    versions = command._versions([run, other], every=0.01)
    assert next(versions) == {run: so_far.path}
    so_far.add(done(1, records[1]))
    so_far.write()
    assert next(versions) == {run: so_far.path}
    whole = EvaluationRun(manifest, tuple(records), scores(Planned.tasks, records))
    run.write_bytes(whole.data())
    so_far.remove()
    assert next(versions) == {run: run}
    timer = threading.Timer(0.05, other.write_bytes, [whole.data()])
    timer.start()
    assert next(versions) == {run: run, other: other}
    assert next(versions, None) is None
    timer.join()


def test_the_page_loads_again_while_a_run_goes_on(records, manifest, tmp_path):
    run = tmp_path / "r.jsonl"
    so_far = partial.PartialResult(run, Planned, manifest, every=0)
    so_far.add(done(0, records[0]))
    out = tmp_path / "report.html"
    command._write(report(command._read({run: so_far.path})), out, refresh=10)
    assert '<meta http-equiv="refresh" content="10">' in out.read_text()
    run.write_bytes(EvaluationRun(manifest, tuple(records), scores(Planned.tasks, records)).data())
    command._write(report(command._read({run: run})), out)
    assert "refresh" not in out.read_text()
    assert json.loads(run.read_text().splitlines()[0])["records"] == 12
