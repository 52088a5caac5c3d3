"""Suggestions for unknown names: of methods, parameters, scorers, tasks, models, drafters, graders."""

import pytest

import intact
from intact._base.errors import IntactError
from intact._base.suggest import MOST, nearest, three_nearest, unknown_among_many, unknown_name
from intact.checkpoints.catalogue import resolve
from intact.engine.drafting import check_drafter
from intact.engine.sampling.parameters import SamplingParameters
from intact.reason.budget import Budget
from intact.reason.registry import find
from intact.tasks.choose import choose
from intact.tasks.declared import read_task
from intact.tasks.score.scorers import find_scorer

KNOWN = ["best_of_n", "beam_search", "self_consistency", "self_refine", "greedy"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("selfconsistency", ["self_consistency"]),
        ("Self-Consistency", ["self_consistency"]),
        ("self", ["self_consistency", "self_refine"]),
        ("bestofn", ["best_of_n"]),
        ("beem_search", ["beam_search"]),
        ("gredy", ["greedy"]),
        ("nothing", []),
        ("", []),
        ("_", []),
        ("x" * 100_000, []),
    ],
)
def test_the_nearest_names_come_first(name, near):
    assert nearest(name, KNOWN) == near


def test_few_names_are_suggested():
    assert len(nearest("name", [f"name{index}" for index in range(100)])) == MOST


@pytest.mark.parametrize("name", ["selfconsistency", "x", "", "search"])
def test_among_many_names_the_three_nearest_are_named(name):
    three = three_nearest(name, KNOWN)
    assert len(set(three)) == 3
    assert three[: len(nearest(name, KNOWN))] == nearest(name, KNOWN)
    told = unknown_among_many("there is none", name, KNOWN, "KNOWN lists all")
    assert told == f"there is none: did you mean {three[0]}, {three[1]} or {three[2]}? KNOWN lists all"


def test_without_a_near_name_all_are_listed():
    assert unknown_name("no method named 'x'", "x", KNOWN) == f"no method named 'x'; available: {', '.join(KNOWN)}"
    assert unknown_name("it has no file 'x'", "x", [], "it has") == "it has no file 'x'; it has none"


def write_task(folder):
    file = folder / "mine.toml"
    file.write_text('name = "mine"\ngrader = "numbr"\n[items]\nfile = "rows.jsonl"\nquestion = "{q}"\nanswer = "{a}"\n')
    return file


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda _: find("selfconsistency"), "no method named 'selfconsistency': did you mean self_consistency, "),
        (lambda _: find("best_of_n").read({"scorre": "p_true"}), "has no parameter 'scorre': did you mean scorer?"),
        (lambda _: find_scorer("ptrue"), "no scorer named 'ptrue': did you mean p_true?"),
        (lambda _: choose("gsm8"), "no task named 'gsm8': did you mean gsm8k or gsm8k_numbers?"),
        (lambda _: choose("gsm_ranges:levl=3"), "gsm_ranges takes no 'levl': did you mean level?"),
        (lambda _: choose("gsm8k:split=tran"), "gsm8k has no split 'tran': did you mean train?"),
        (lambda folder: read_task(write_task(folder)), "no grader named 'numbr': did you mean number"),
        (lambda _: resolve("smollm2-135m-instuct"), "did you mean smollm2-135m-instruct"),
        (lambda _: Budget.parse("token=4k"), "a budget has no cap 'token': did you mean tokens?"),
        (lambda _: check_drafter("lokup"), "no drafter named 'lokup': did you mean lookup?"),
        (lambda _: intact.load("none", drafter="Lookup"), "no drafter named 'Lookup': did you mean lookup?"),
        (
            lambda _: SamplingParameters.by_name({"tempreature": 1}),
            "'tempreature' is not a sampling parameter: did you mean temperature?",
        ),
    ],
)
def test_every_kind_of_name_is_suggested(look, message, tmp_path):
    with pytest.raises(IntactError) as raised:
        look(tmp_path)
    assert message in str(raised.value)
