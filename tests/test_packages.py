"""The distribution's name, its extras, and what is said where a package is missing."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest

import intact
from intact._base.errors import NotInstalledError
from intact._base.packages import DISTRIBUTION, check_installed, install
from intact.serve import PACKAGES
from support.absent import intact_without
from support.pythons import WANTED
from support.requirements import normal, resolve

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOREIGN = "intact"
"""A distribution of this name is another project's."""
DECLARED = [*PROJECT["dependencies"], *(f"{one}; extra == '{extra}'" for extra in EXTRAS for one in EXTRAS[extra])]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the wheel requires: that which is installed, or else as the build backend writes it."""
    try:
        return metadata(DISTRIBUTION).get_all("Requires-Dist") or []
    except PackageNotFoundError:
        pytest.importorskip("scikit_build_core", reason="needs the tools of the build, or an installed wheel")
    out = tmp_path_factory.mktemp("metadata")
    code = "import sys; sys.path.insert(0, 'build_backend'); import intact_build as build; "
    code += f"build.prepare_metadata_for_build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (file,) = out.glob("*.dist-info/METADATA")
    from email.parser import Parser

    return Parser().parsestr(file.read_text("utf-8")).get_all("Requires-Dist") or []


def test_the_name_is_that_of_the_project() -> None:
    assert PROJECT["name"] == DISTRIBUTION != FOREIGN


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_no_extra_of_the_wheel_requires_the_foreign_project(extra: str | None, built: list[str]) -> None:
    found = resolve(DISTRIBUTION, built, [extra] if extra else [])
    assert FOREIGN not in found
    assert found == resolve(DISTRIBUTION, DECLARED, [extra] if extra else [])
    assert len(found) >= len(PROJECT["dependencies"])


def test_a_requirement_of_the_foreign_project_would_be_found() -> None:
    lines = ["numpy", "intact-llm[b]; extra == 'a'", "x; extra == 'c'"]
    lines.append("intact[c] (>=1) ; python_version > '3' and extra == \"b\"")
    assert resolve(DISTRIBUTION, lines) == {"numpy"}
    assert resolve(DISTRIBUTION, lines, ["a"]) == {"numpy", FOREIGN}


def test_no_text_asks_for_the_foreign_project() -> None:
    asked = re.compile(
        r"(?:pip3?|pipx|uv tool|uv pip|uvx)\b[^\n`&|;]*(?<![\w./-])intact(?![\w./-])|['\"\s]intact\[[a-z]"
    )
    files = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in (
        ".ci",
        ".github",
        "benchmarks",
        "build_backend",
        "conformance",
        "docs",
        "examples",
        "scripts",
        "src",
    ):
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".so", ".pyc")]
    assert len(files) > 300
    assert [str(path) for path in files if asked.search(path.read_bytes().decode("utf-8", "replace"))] == []


def test_packages_that_are_named_where_one_is_missing_are_those_of_the_extras() -> None:
    known = resolve(DISTRIBUTION, DECLARED, EXTRAS)
    named: dict[str, str] = {}
    for path in sorted(Path(intact.__file__).parent.rglob("*.py")):
        text = path.read_text("utf-8")
        assert not re.search(r"pip install '?\.?\[", text), f"{path.name}: a hint must not build this package again"
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            called = call.func.id if isinstance(call.func, ast.Name) else ""
            arguments = {"install": call.args, "check_installed": call.args[1:], "WorkerProcess": call.args[1:2]}
            for one in arguments.get(called, []):
                if isinstance(one, ast.Constant):
                    named[one.value] = path.name
    assert {"llguidance", "math-verify", "scipy", "torch", "reasoning-gym", "jinja2"} <= named.keys()
    others = {name: path for name, path in named.items() if name not in sys.stdlib_module_names}
    assert {name: path for name, path in others.items() if normal(name) not in known} == {}


def test_the_server_looks_for_all_that_its_extra_brings() -> None:
    brought = resolve(DISTRIBUTION, DECLARED, ["serve"])
    assert {*PACKAGES} == brought - resolve(DISTRIBUTION, DECLARED) - {"pyseccomp"} | {"llguidance"}


def test_pythons_that_are_claimed_are_those_that_wheels_are_tried_on() -> None:
    claimed = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if " :: Python :: " in one]
    assert tuple(claimed) == WANTED
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text("utf-8")
    assert sorted(re.findall(r"^ +(3\.\d+)$", workflow, re.MULTILINE)) == claimed
    assert "run: python scripts/wheels.py" in workflow


def test_a_wheel_of_the_stable_abi_needs_a_cmake_that_can_build_it() -> None:
    text = (ROOT / "CMakeLists.txt").read_text("utf-8")
    found = re.search(r"cmake_minimum_required\(VERSION 3\.(\d+)", text)
    assert found
    assert int(found[1]) >= 26


def test_what_documented_commands_need_comes_with_their_extra() -> None:
    assert "llguidance" in resolve(DISTRIBUTION, DECLARED)
    for extra in ("solve", "evaluate"):
        assert "math-verify" in resolve(DISTRIBUTION, DECLARED, [extra])
    assert {"scipy", "statsmodels", "matplotlib"} <= resolve(DISTRIBUTION, DECLARED, ["evaluate"])


def test_all_missing_packages_are_named_at_once() -> None:
    with pytest.raises(NotInstalledError) as raised:
        check_installed("this", "numpy", "no-such-one", "no_such.other")
    assert str(raised.value) == "this needs no-such-one, no_such.other: pip install no-such-one no_such.other"


def test_a_package_with_an_upper_bound_is_installed_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["uvicorn<0.55,>=0.30; extra == 'serve'", "scipy>=1.15; extra == 'evaluate'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: lines if name == DISTRIBUTION else None)
    assert install("scipy", "uvicorn") == "pip install scipy 'uvicorn<0.55,>=0.30'"


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("math_verify", ["solve", "self_consistency", "--task", "math500", "--model", "nowhere.gguf"]),
        ("math_verify", ["eval", "nowhere.gguf", "math500", "--limit", "1"]),
        ("python_multipart", ["serve", "nowhere.gguf"]),
        ("matplotlib", ["bench", "-m", "nowhere.gguf", "--plot", "rates.png"]),
        ("scipy", ["sweep", "gsm8k", "-m", "nowhere.gguf"]),
        ("scipy", ["audit", "log.jsonl", "--model", "nowhere.gguf"]),
        ("sklearn", ["learn", "value", "-m", "nowhere.gguf", "--to", "head.json"]),
        ("optuna", ["tune", "-m", "nowhere.gguf"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_what_is_missing_is_said_before_a_model_is_loaded(package: str, command: list[str]) -> None:
    """The model is absent, and nobody gets as far as to notice that."""
    told = intact_without(package, *command)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
    name = {"sklearn": "scikit-learn"}.get(package, package.replace("_", "-"))
    assert re.fullmatch(rf"error: .*: pip install [a-z -]*\b{name}\b.*\n", told.stderr), told.stderr
    assert os.linesep not in told.stderr.rstrip()


def test_the_harness_says_in_one_line_that_it_is_missing() -> None:
    code = "import runpy, sys; sys.modules['lm_eval'] = None; "
    code += "runpy.run_module('intact.evaluate.harness', run_name='__main__')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert told.stderr.startswith("error: lm-evaluation-harness is missing: pip install ")
