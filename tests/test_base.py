"""The base installation: its commands run where no package of an extra can be imported, and say what one lacks."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from intact.packages import DISTRIBUTION
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
    result = CliRunner().invoke(app, words, prog_name="intact")
    results.append([result.exit_code, result.stdout, result.stderr])
loaded = sorted(name for name in ABSENT if name in sys.modules)
print(json.dumps([results, loaded]))
"""


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


class BaseInstallation:
    """A folder with a tiny model and data, in which commands run without the packages of extras."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        data = folder / "data"
        for name, rows in DATA.items():
            (data / name).parent.mkdir(parents=True)
            (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        write_tiny(folder / "tiny.gguf", context=2048)
        monkeypatch.chdir(folder)
        for variable, value in {"INTACT_DATA": data, "INTACT_HOME": folder / "home", "COLUMNS": "100"}.items():
            monkeypatch.setenv(variable, str(value))

    def __call__(self, *commands: str) -> list[Done]:
        """Run commands, one after the other."""
        words = json.dumps([command.split() for command in commands])
        told = python_without(ABSENT, COMMANDS, words)
        assert told.returncode == 0, told.stderr
        results, loaded = json.loads(told.stdout.splitlines()[-1])
        assert loaded == []
        return [Done(*one) for one in results]


DATA: dict[str, list[dict[str, Any]]] = {
    "gsm8k/test.jsonl": [{"question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(8)],
    "arc_easy/validation.jsonl": [
        {"id": f"q{i}", "question": "Which?", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "A"}
        for i in range(8)
    ],
}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseInstallation:
    return BaseInstallation(tmp_path, monkeypatch)


def test_the_packages_of_extras_are_not_there(base: BaseInstallation) -> None:
    assert {"math_verify", "sympy", "matplotlib", "scipy", "statsmodels", "pyseccomp"} <= ABSENT
    assert not {"numpy", "rich", "tokenizers", "llguidance"} & ABSENT


def test_a_model_answers_and_a_receipt_is_verified(base: BaseInstallation) -> None:
    run, verify = base(
        "run tiny.gguf Hello --max-tokens 4 --receipt a.receipt",
        "verify a.receipt --model tiny.gguf",
    )
    assert run.code == 0, run.err
    assert (verify.code, "1 true, 0 false" in verify.out) == (0, True), verify


def test_votes_over_numbers_evaluations_and_a_report_in_the_terminal(base: BaseInstallation) -> None:
    vote, greedy, tried, choices, likelihoods, report, whole = base(
        "solve self_consistency What? --model tiny.gguf -n 4 --max-tokens 8 --answer number",
        "eval tiny.gguf gsm8k --max-tokens 8 --out greedy.jsonl",
        "eval tiny.gguf gsm8k --method self_consistency -n 8 --max-tokens 8 --out vote.jsonl",
        "eval tiny.gguf arc_easy --max-tokens 8 --out choices.jsonl",
        "eval tiny.gguf arc_easy_likelihood --out likelihoods.jsonl",
        "report greedy.jsonl vote.jsonl",
        "report greedy.jsonl vote.jsonl --out report.html",
    )
    for one in (vote, greedy, tried, choices, likelihoods, report, whole):
        assert one.code == 0, one
    assert "chain_of_thought − self_consistency n=8 on gsm8k: " in report.out.replace("\n", "")
    assert re.search(r"self_consistency n=8 +[\d.]+% +[\d.]+% to [\d.]+% +8 +\d+", report.out)
    assert "(extra evaluate) is left out: pip install matplotlib scipy" in whole.err.replace("\n", "")
    text = Path("report.html").read_text()
    assert "<svg" not in text
    assert "they need matplotlib: pip install matplotlib" in text


def test_an_answer_that_is_no_number_is_named_with_the_extra_that_reads_it(base: BaseInstallation) -> None:
    Path("latex.py").write_text(LATEX)
    solved, task, server = base(
        "solve latex.py:irrational What? --model tiny.gguf --max-tokens 4",
        "eval nowhere.gguf math500 --limit 1",
        "serve nowhere.gguf",
    )
    assert solved.code == 2
    message = solved.err.replace("\n", " ")
    assert r"the answer '\\sqrt{2}' is no number, and reading it needs math-verify (extra solve)" in message
    assert task == Done(2, "", "error: reading and comparing expressions needs math-verify: pip install math-verify\n")
    assert "math-verify" not in server.err


def test_the_extra_of_the_server_brings_no_algebra() -> None:
    assert not {"math-verify", "sympy"} & resolve(DISTRIBUTION, DECLARED, ["serve"])
