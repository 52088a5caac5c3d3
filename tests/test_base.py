"""The base installation: its commands run where no package of an extra can be imported, and say what one lacks."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from intact._base.packages import DISTRIBUTION
from support.absent import python_without
from support.requirements import resolve
from support.tiny import write_tiny

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [*PROJECT["dependencies"], *(f"{one}; extra == '{extra}'" for extra in EXTRAS for one in EXTRAS[extra])]
COMES_ALONG = {"httpx", "pydantic"}
"""What huggingface_hub brings in some versions."""
MODULES = {"scikit-learn": "sklearn"}
ABSENT = {
    MODULES.get(name, name.replace("-", "_"))
    for name in resolve(DISTRIBUTION, DECLARED, EXTRAS) - resolve(DISTRIBUTION, DECLARED) - COMES_ALONG
}
LATEX = r"""
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect

@method("mine")
def irrational(problem: Problem) -> Steps:
    samples = yield [Extend(problem.start)]
    problem.read(r"The answer is \boxed{\sqrt{2}}.")
    return elect(problem, samples)
"""
COMMANDS = """
import json
from typer.testing import CliRunner
from intact.cli.app import app

results = []
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words, input="Hello", prog_name="intact")
    results.append([result.exit_code, result.stdout, result.stderr])
loaded = sorted(name for name in ABSENT if name in sys.modules)
print(json.dumps([results, loaded]))
"""


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


DATA: dict[str, list[dict[str, Any]]] = {
    "gsm8k/test.jsonl": [{"question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(8)],
    "arc_easy/validation.jsonl": [
        {"id": f"q{i}", "question": "Which?", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "A"}
        for i in range(8)
    ],
}
RUN = {
    "run": "run tiny.gguf Hello --max-tokens 4 --receipt a.receipt",
    "chat": "chat tiny.gguf --max-tokens 4",
    "verify": "verify a.receipt --model tiny.gguf",
    "solve": "solve self_consistency What? --model tiny.gguf -n 4 --max-tokens 8",
    "latex": "solve latex.py:irrational What? --model tiny.gguf --max-tokens 4",
    "greedy": "eval tiny.gguf gsm8k --max-tokens 8 --out greedy.jsonl",
    "vote": "eval tiny.gguf gsm8k --method self_consistency -n 8 --max-tokens 8 --out vote.jsonl",
    "choices": "eval tiny.gguf arc_easy --max-tokens 8 --out choices.jsonl",
    "likelihoods": "eval tiny.gguf arc_easy_likelihood --out likelihoods.jsonl",
    "expressions": "eval nowhere.gguf math500 --limit 1",
    "report": "report greedy.jsonl vote.jsonl",
    "page": "report greedy.jsonl vote.jsonl --out report.html",
    "serve": "serve nowhere.gguf",
}
"""Commands by name; later ones read what earlier ones wrote."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, data and a method."""
    found = tmp_path_factory.mktemp("base")
    for name, rows in DATA.items():
        (found / "data" / name).parent.mkdir(parents=True)
        (found / "data" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_tiny(found / "tiny.gguf", context=2048)
    (found / "latex.py").write_text(LATEX)
    return found


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, Done]:
    """What each command came to, in one process without the packages of extras."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for variable, value in {"INTACT_DATA": folder / "data", "INTACT_HOME": folder / "home"}.items():
            patch.setenv(variable, str(value))
        patch.setenv("COLUMNS", "200")
        told = python_without(ABSENT, COMMANDS, json.dumps([command.split() for command in RUN.values()]))
    assert told.returncode == 0, told.stderr
    results, loaded = json.loads(told.stdout.splitlines()[-1])
    assert loaded == []
    return {name: Done(*one) for name, one in zip(RUN, results, strict=True)}


def test_the_packages_of_extras_are_those_that_are_not_there() -> None:
    assert {"math_verify", "sympy", "matplotlib", "scipy", "statsmodels", "pyseccomp"} <= ABSENT
    assert not {"numpy", "rich", "tokenizers", "llguidance"} & ABSENT


@pytest.mark.parametrize("name", sorted(RUN.keys() - {"latex", "expressions", "serve"}))
def test_a_command_of_the_base_installation_runs(done: dict[str, Done], name: str) -> None:
    assert done[name].code == 0, done[name]


def test_a_receipt_is_verified(done: dict[str, Done]) -> None:
    assert "1 true, 0 false" in done["verify"].err


def test_a_report_in_the_terminal_has_scores_with_intervals_and_differences(done: dict[str, Done]) -> None:
    assert "chain_of_thought − self_consistency n=8 on gsm8k: " in done["report"].out
    assert re.search(r"self_consistency n=8 +[\d.]+% +[\d.]+% to [\d.]+% +8 +\d+", done["report"].out)


def test_a_report_in_a_file_says_what_it_lacks(done: dict[str, Done], folder: Path) -> None:
    note = "left out whatever needs matplotlib, scipy (extra evaluate): pip install matplotlib scipy"
    assert note in done["page"].err
    text = (folder / "report.html").read_text()
    assert "<svg" not in text
    assert "they need matplotlib: pip install matplotlib" in text


def test_an_answer_that_is_no_number_is_named_with_the_extra_that_reads_it(done: dict[str, Done]) -> None:
    message = (
        r"the answer '\\sqrt{2}' is not a number, "
        "and reading it needs math-verify (extra solve): pip install math-verify"
    )
    assert done["latex"].code == 2
    assert message in done["latex"].err


def test_a_task_of_expressions_is_refused_before_a_model_is_loaded(done: dict[str, Done]) -> None:
    message = "error: reading and comparing expressions needs math-verify: pip install math-verify\n"
    assert done["expressions"] == Done(2, "", message)


def test_the_server_needs_no_algebra(done: dict[str, Done]) -> None:
    assert "the server needs fastapi" in done["serve"].err
    assert not {"math-verify", "sympy"} & resolve(DISTRIBUTION, DECLARED, ["serve"])
    assert "math-verify" not in done["serve"].err
