"""Stages of the checks are skipped only where the same inputs have passed."""

import json
import shutil
import subprocess
import sys

import pytest

SLOW = "import pytest\n\n{imports}\n\n\n@pytest.mark.slow\ndef test_a_property():\n    pass\n"
FILES = {
    ".ci/run": "",
    "docs/page.md": "A page.\n",
    "native/sum.cpp": "int sum(int a, int b) { return a + b; }\n",
    "native/wasm/glue.cpp": "int glue() { return 1; }\n",
    "src/intact/__init__.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from intact.middle import load\n",
    "src/intact/_native/__init__.pyi": "",
    "src/intact/kernels/__init__.py": "from intact import _native\n",
    "src/intact/low/__init__.py": "",
    "src/intact/middle/__init__.py": "def load():\n    from ..low import unused\n",
    "src/intact/single.py": "",
    "src/intact/top/__init__.py": "import intact.middle\n",
    "tests/conftest.py": "",
    "tests/support/__init__.py": "",
    "tests/support/made.py": "import intact.single\n",
    "tests/kernels/test_kernels.py": SLOW.format(imports=""),
    "tests/low/test_low.py": SLOW.format(imports=""),
    "tests/low/test_fast.py": "import intact.top\n",
    "tests/middle/test_middle.py": SLOW.format(imports="from support import made"),
    "tests/test_single.py": SLOW.format(imports="PROGRAM = 'import intact; intact.load()'"),
    "tests/test_whole.py": SLOW.format(imports=""),
    "tests/top/test_top.py": "import intact.top\n",
}


def checkout(folder, root):
    """Make a checkout with a few packages, their tests, and the script."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("stages.py", "architecture.py"):
        (folder / "scripts").mkdir(exist_ok=True)
        shutil.copy(root / "scripts" / name, folder / "scripts")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


@pytest.fixture
def folder(tmp_path, root):
    """A checkout in which no stage has passed."""
    return checkout(tmp_path, root)


@pytest.fixture(scope="module")
def passed(tmp_path_factory, root):
    """A checkout in which the slow tests have passed."""
    folder = checkout(tmp_path_factory.mktemp("passed"), root)
    assert planned(folder, "slow") == {f"slow {name}": "never passed" for name in ALL}
    assert run(folder, "slow", "--", "true").returncode == 0
    assert not planned(folder, "slow")
    return folder


def run(folder, *words):
    command = [sys.executable, "-S", "scripts/stages.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def planned(folder, start=""):
    """Return the stages that would run, and why."""
    lines = [line.split(maxsplit=1) for line in run(folder, "--plan").stdout.splitlines()]
    return dict(text.split(": ", 1) for verb, text in lines if verb == "run" and text.startswith(start))


def test_a_stage_is_skipped_until_what_it_depends_on_changes(folder):
    tiers = ("tiers", "--", "echo", "ran")
    assert "ran" in run(folder, *tiers).stdout
    for name in ("docs/page.md", "native/wasm/glue.cpp"):
        (folder / name).write_text("Another text.\n")
        assert "SKIPPED tiers" in run(folder, *tiers).stdout
    for name in ("native/sum.cpp", "native/new.cpp"):
        (folder / name).write_text("int sum(int a, int b) { return a - b; }\n")
        assert planned(folder, "tiers")["tiers"].startswith("changed: native;")
        assert "ran" in run(folder, *tiers).stdout
    assert "SKIPPED" not in run(folder, "tiers", "--always", "--", "echo", "ran").stdout


def test_the_gpu_executor_is_no_input_of_the_kernels_stages(folder):
    for name in (
        "src/intact/executors/base.py",
        "src/intact/executors/gpu/plan.py",
        "tests/executors/gpu/test_plan.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("NUMBER = 1\n")
    mutations = ("few mutations", "--", "echo", "ran")
    assert "ran" in run(folder, *mutations).stdout
    for name in (
        "src/intact/executors/gpu/plan.py",
        "src/intact/executors/wgpu.py",
        "tests/executors/gpu/test_plan.py",
    ):
        (folder / name).write_text("NUMBER = 2\n")
        assert "SKIPPED few mutations" in run(folder, *mutations).stdout
    (folder / "src/intact/executors/base.py").write_text("NUMBER = 2\n")
    assert "changed: src/intact/executors/base.py" in planned(folder, "few mutations")["few mutations"]


@pytest.mark.parametrize(
    ("name", "text", "same", "other"),
    [
        (
            "src/intact/executors/one.py",
            'def one():\n    """Return one."""\n    return """\n# text\n\n"""  # why\n',
            (
                '# A comment.\n\n\ndef one():\n    """Return 1.\n\n    Always.\n    """\n\n    # Here.\n'
                '    return """\n# text\n\n"""  # why\n'
            ),
            'def one():\n    """Return one."""\n    return """\n# else\n\n"""  # why\n',
        ),
        (
            "native/one.cpp",
            "int one = 1'000'000;  // a number\nconst char *url = \"http://here\";\n",
            "/* Two\n   lines. */\nint one = 1'000'000;\n\n// An address\n  const char *url = \"http://here\";\n",
            "int one = 1'000'000;\nconst char *url = \"http://there\";\n",
        ),
    ],
)
def test_comments_docstrings_and_blank_lines_start_no_stage_but_the_site(folder, name, text, same, other):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    stages = {"recipes", "site"}
    for stage in stages:
        run(folder, stage, "--", "true")
    assert not planned(folder).keys() & stages
    (folder / name).write_text(same)
    assert planned(folder).keys() & stages == {"site"}
    (folder / name).write_text(other)
    assert planned(folder).keys() & stages == stages


def test_a_stage_that_fails_is_not_noted(folder):
    assert run(folder, "tiers", "--", "false").returncode == 1
    assert not (folder / ".ci/passed.json").exists()
    assert planned(folder, "tiers") == {"tiers": "never passed"}
    assert "ran" in run(folder, "tiers", "--", "echo", "ran").stdout
    assert "tiers" in json.loads((folder / ".ci/passed.json").read_text())


MORE = {".cpp": "int more;\n"}
ALL = {"kernels", "low", "middle", "single", "others"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("src/intact/low/new.py", {"low", "middle", "single", "others"}),  # single's test loads by middle
        ("src/intact/middle/__init__.py", {"middle", "single", "others"}),
        ("src/intact/single.py", {"middle", "single", "others"}),  # middle's test imports a helper that imports it
        ("src/intact/top/__init__.py", {"others"}),  # the stage of tests that belong to no package
        ("native/sum.cpp", {"kernels", "others"}),
        ("native/wasm/glue.cpp", {"others"}),
        ("docs/page.md", {"others"}),
        ("tests/low/test_fast.py", {"low", "others"}),
        ("tests/middle/test_middle.py", {"middle", "others"}),
        ("tests/support/made.py", ALL),
        ("tests/conftest.py", ALL),
        ("src/intact/__init__.py", ALL),
        (".ci/nightly.json", set()),
    ],
)
def test_slow_tests_run_for_the_packages_whose_inputs_changed(passed, change, expected):
    (passed / change).write_text(FILES.get(change, "") + MORE.get(change[-4:], "more = 1\n"))
    found = planned(passed, "slow")
    (passed / change).unlink()
    if change in FILES:
        (passed / change).write_text(FILES[change])
    assert found.keys() == {f"slow {name}" for name in expected}


def test_slow_tests_are_given_the_files_that_hold_some_of_the_packages_that_changed(folder):
    def given() -> list[str]:
        lines = run(folder, "slow", "--", "echo", "given").stdout.splitlines()
        return sorted(line.removeprefix("given tests/") for line in lines if line.startswith("given "))

    listed = ["kernels/test_kernels.py", "low/test_low.py", "middle/test_middle.py", "test_single.py", "test_whole.py"]
    assert given() == listed
    (folder / "src/intact/kernels/__init__.py").write_text("")
    assert given() == ["kernels/test_kernels.py", "test_whole.py"]


def test_a_package_whose_slow_tests_fail_leaves_the_others_passed(folder):
    command = ["sh", "-c", 'case "$*" in *test_low*) exit 1; esac', "sh"]
    assert run(folder, "slow", "--", *command).returncode == 1
    assert planned(folder, "slow").keys() == {"slow low"}


def test_slow_tests_that_never_passed_may_be_left_to_nightly(folder):
    assert "given" not in run(folder, "slow", "--known", "--", "echo", "given").stdout
    assert run(folder, "slow", "--", "true").returncode == 0
    (folder / "tests/low/test_low.py").write_text(FILES["tests/low/test_low.py"] + "more = 1\n")
    assert "given tests/low/test_low.py" in run(folder, "slow", "--known", "--", "echo", "given").stdout


def test_slow_tests_that_a_helper_marks_have_a_stage_too(folder):
    (folder / "tests/support/tiers.py").write_text("import pytest\n\nALL = [pytest.param(1, marks=pytest.mark.slow)]\n")
    (folder / "tests/top/test_top.py").write_text("from support.tiers import ALL\n")
    assert "slow top" in planned(folder, "slow")
    assert run(folder, "slow", "--", "sh", "-c", "exit 5").returncode == 0  # of which pytest selects none here
    assert not planned(folder, "slow")


def test_slow_tests_of_stages_of_their_own_are_left_to_these(folder):
    (folder / "tests/js").mkdir()
    (folder / "tests/js/test_page.py").write_text(FILES["tests/test_whole.py"])
    assert "tests/js" not in run(folder, "slow", "--", "echo").stdout
    assert run(folder, "browser", "--", "true").returncode == 0
    (folder / "tests/js/test_page.py").write_text("")
    assert planned(folder, "browser")["browser"].startswith("changed: tests/js;")
