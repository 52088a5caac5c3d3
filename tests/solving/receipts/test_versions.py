"""Published digests are of declared versions, which stored cases pin; how the code is written changes none of them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import intact
from intact.evaluate.manifest import grader_digest
from intact.reason.registry import all_methods
from intact.solving.receipts import versions
from intact.solving.receipts.sealed import source
from intact.solving.receipts.versions import versions_of, versions_of_all, versions_of_method, versions_of_task
from intact.tasks import all_tasks, find_task
from intact.tasks.numeric import Numeric
from intact.tasks.score.scorers import SCORERS
from support import pins

PINNED = pins.read()
DIGESTS = """
from importlib.metadata import PackageNotFoundError
from intact.evaluate.manifest import grader_digest
from intact.solving.receipts.sealed import source
from intact.tasks import all_tasks
for name, task in all_tasks().items():
    try:
        print(name, grader_digest(task))
    except PackageNotFoundError as error:
        print(name, "needs", error.name)
print(source().hex())
"""


@pytest.mark.parametrize("name", pins.pieces())
def test_behaviour_is_that_of_the_version(name):
    if why := pins.unable(name):
        pytest.skip(why)
    now, kept = pins.versions(name), PINNED[name]["versions"]
    outside = [(of["libraries"], of["python"]) for of in (now, kept)]
    if now["parts"] == kept["parts"] and outside[0] != outside[1]:
        pytest.skip(f"pinned with {outside[1]}, here is {outside[0]}")
    assert now == kept, f"{name} has other versions than are pinned: run `{pins.COMMAND}` and commit pins.json"
    assert pins.digest(pins.pieces()[name]) == PINNED[name]["digest"], (
        f"{name} behaves otherwise than its versions say: {now['parts']}. Raise the version of what you changed, where "
        f"it is declared, and run `{pins.COMMAND}`; or undo the change"
    )


def test_a_change_of_behaviour_is_seen(monkeypatch):
    monkeypatch.setattr(Numeric, "read", lambda self, text: None)
    assert pins.digest(pins.pieces()["task gsm8k"]) != PINNED["task gsm8k"]["digest"]


def test_all_that_is_declared_is_pinned_and_nothing_else():
    assert set(PINNED) == set(pins.pieces())
    declared = set(versions_of([f"{kind} {name}" for kind, names in (
        ("method", all_methods()), ("scorer", SCORERS.own), ("task", all_tasks()), ("reader", versions.answers.READERS)
    ) for name in names]).parts)  # fmt: skip
    covered = set().union(*(pin["versions"]["parts"] for pin in PINNED.values()))
    assert declared - covered == pins.UNPINNED


def test_comments_names_and_places_of_code_change_no_digest(tmp_path):
    """A copy of the package with another comment and docstring in each file, a renamed function and a moved module."""
    own = Path(intact.__file__).parent
    copy = tmp_path / "intact"
    shutil.copytree(own, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for library in own.glob("*.so"):
        (copy / library.name).symlink_to(library)
    edited = 0
    for folder in ("reason", "tasks", "evaluate", "solving"):
        for file in (copy / folder).rglob("*.py"):
            text = file.read_text("utf-8")
            text = re.sub(r"^    \"\"\"(\w)", r'    """Now: \1', text, flags=re.MULTILINE)
            text = re.sub(r"\b_behind_cue\b", "_rest_of_sentence", text)
            text = text.replace("intact.tasks.score.layout", "intact.tasks.score.arrangement")
            edited += text != file.read_text("utf-8")
            file.write_text(text + "# a comment\n", "utf-8")
    (copy / "tasks/score/layout.py").rename(copy / "tasks/score/arrangement.py")
    assert edited > 50
    before, after = (
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            capture_output=True, check=True, text=True, env={**os.environ, "PYTHONPATH": str(place)},
        ).stdout
        for place in (own.parent, tmp_path)
    )  # fmt: skip
    assert before == after
    assert before.count("\n") == len(all_tasks()) + 1


def test_versions_and_outside_libraries_change_digests(monkeypatch):
    names = ("gsm8k", "math500", "humaneval", "svamp")

    def digests():
        versions._parts.cache_clear()
        return [grader_digest(find_task(name)) for name in names]

    before = digests()
    with monkeypatch.context() as patch:
        patch.setattr("intact.tasks.gsm8k.GSM8K.version", 2)
        assert [a == b for a, b in zip(before, digests(), strict=True)] == [False, True, True, True]
    with monkeypatch.context() as patch:
        patch.setitem(versions.answers.VERSIONS, "number", 99)
        assert [a == b for a, b in zip(before, digests(), strict=True)] == [False, True, True, False]
    with monkeypatch.context() as patch:
        patch.setattr(versions, "installed", lambda library: "0")
        assert [a == b for a, b in zip(before, digests(), strict=True)] == [True, False, True, True]
    with monkeypatch.context() as patch:
        patch.setattr("platform.python_version_tuple", lambda: ("3", "99", "1"))
        assert [a == b for a, b in zip(before, digests(), strict=True)] == [True, True, False, True]
    assert digests() == before


def test_what_runs_programs_states_the_interpreter():
    here = ".".join(map(str, sys.version_info[:2]))
    stated = {name: versions_of_task(task).python for name, task in all_tasks().items()}
    assert {name for name, python in stated.items() if python == here} == {"humaneval", "mbpp"}
    methods = {name for name, one in all_methods().items() if versions_of_method(one, {}).python}
    assert methods == {
        "program_aided",
        "code_verification",
        "code_verified",
        "collaborative_verification",
        "hypothesis_search",
        "interleaved_code",
        "linc",
        "compute_optimal",
    }
    best = all_methods()["best_of_n"]
    assert versions_of_method(best, {"scorer": "unit_tests:60"}).python == here
    assert versions_of_method(best, {"scorer": "likelihood"}).python is None


def test_the_source_of_a_run_is_of_all_parts(monkeypatch):
    found = versions_of_all()
    assert set(found.parts) > {f"method {name}" for name in all_methods()} | {f"scorer {name}" for name in SCORERS.own}
    assert set(found.libraries) == {"latex2sympy2-extended", "math-verify", "reasoning-gym", "sympy"}
    assert found.python == ".".join(map(str, sys.version_info[:2]))
    assert source() == found.digest
    monkeypatch.setitem(versions.answers.VERSIONS, "text", 2)
    versions._parts.cache_clear()
    assert versions_of_all().digest != found.digest
    monkeypatch.undo()
    versions._parts.cache_clear()
