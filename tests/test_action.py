"""action.yml and the hooks for pre-commit, step by step in an environment that has nothing but what they install."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from support.hub_server import Hub, serve
from support.modules import load
from support.tiny import write_tiny

ROOT = Path(__file__).parent.parent
MODEL = "hf:some/tiny:tiny.gguf"
SUITE = ROOT / "examples/ci/test_sky.py"


@pytest.fixture(scope="module")
def steps():
    return load("scripts/action_steps.py")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder with a model's hub, and variables of an environment whose Python has what the wheel requires."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = folder.glob("venv/lib/*/site-packages")
    sources = [sysconfig.get_path("purelib"), str(ROOT / "src")]
    (site / "there.pth").write_text("\n".join(sources))
    write_wheel(folder / "intact_llm-0.0-py3-none-any.whl")
    model = write_tiny(folder / "tiny.gguf", "qwen3", context=1024).read_bytes()
    with serve(Hub({("some/tiny", "tiny.gguf"): model})) as hub:
        yield (
            folder,
            {
                "HOME": str(folder),
                "HF_ENDPOINT": hub.endpoint,
                "PATH": f"{folder}/venv/bin:/usr/bin:/bin",
                "PIP_NO_INDEX": "1",
            },
        )


def write_wheel(path):
    """Write a wheel of this distribution with its commands and plug-ins, whose code is on the path already."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = "intact_llm-0.0.dist-info"
    groups = {"console_scripts": project["scripts"], "pytest11": project["entry-points"]["pytest11"]}
    points = "\n".join(f"[{name}]\n" + "\n".join(f"{k} = {v}" for k, v in own.items()) for name, own in groups.items())
    with ZipFile(path, "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: intact-llm\nVersion: 0.0\nProvides-Extra: serve\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", points)
        wheel.writestr(f"{info}/RECORD", "")


def run(command, folder, environment, **more):
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, **more)


@pytest.fixture(scope="module")
def repository(empty, steps):
    """A repository with a suite and its lock, after the action's steps wrote that lock."""
    folder, environment = empty
    suite = folder / "suite"
    suite.mkdir()
    shutil.copy(SUITE, suite)
    inputs = {"lock": "answers.json", "model": MODEL, "pytest": "--intact-lock-update"}
    script = steps.script(action(), inputs | {"package": f"{folder}/intact_llm-0.0-py3-none-any.whl[serve]"})
    done = run(["bash", "-c", script], suite, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully installed intact-llm-0.0" in done.stdout
    assert list((folder / ".cache/intact").rglob("tiny.gguf")), "the cached folder has the model"
    return suite


def action():
    return yaml.safe_load((ROOT / "action.yml").read_text())


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("changed.json", 1, "1 failed, 1 passed"),
        pytest.param("answers.json", 0, "2 passed", marks=pytest.mark.slow),
    ],
)
def test_the_action_passes_with_its_lock_and_fails_if_an_answer_changed(empty, steps, repository, name, code, text):
    folder, environment = empty
    lock = json.loads((repository / "answers.json").read_text())
    assert lock["model"] == MODEL  # found in the lock, where no model is given
    (request,) = lock["tests"]["test_sky.py::test_an_answer"]
    request["answer"]["choices[0].message.content"] += "!"
    (repository / "changed.json").write_text(json.dumps(lock))
    inputs = {"lock": name, "package": f"{folder}/intact_llm-0.0-py3-none-any.whl[serve]"}
    done = run(["bash", "-c", steps.script(action(), inputs)], repository, environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stdout


def hook(name, arguments=None, files=()):
    """Return the command that pre-commit runs for a hook."""
    (found,) = [one for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()) if one["id"] == name]
    words = [*shlex.split(found["entry"]), *(found.get("args", []) if arguments is None else arguments)]
    return [*words, *(files if found.get("pass_filenames", True) else ())]


@pytest.mark.slow
def test_hooks_pass_and_fail_as_their_commands_do(empty, repository):
    _, environment = empty
    assert run(hook("intact-answers"), repository, environment).returncode == 0
    changed = (repository / "answers.json").read_text().replace('content": "', 'content": "?')
    (repository / "other.json").write_text(changed)
    assert run(hook("intact-answers", ["other.json"]), repository, environment).returncode == 1
    done = run(["intact", "lock", "new", "sky.intact.lock", "--model", MODEL], repository, environment)
    assert done.returncode == 0, done.stderr
    assert run(hook("intact-lock", files=["sky.intact.lock"]), repository, environment).returncode == 0
    lock = json.loads((repository / "sky.intact.lock").read_text())
    lock["models"][0]["digests"]["weights"] = "0" * 64
    (repository / "a.intact.lock").write_text(json.dumps(lock))
    done = run(hook("intact-lock", files=["a.intact.lock", "sky.intact.lock"]), repository, environment)
    assert done.returncode == 1, done.stdout + done.stderr
    done = run(hook("intact-drift", ["none.json"]), repository, environment)
    assert "none.json" in done.stderr


@pytest.mark.slow
def test_the_example_method_keeps_its_laws_by_the_hook(empty, repository):
    _, environment = empty
    done = run(hook("intact-check", ["shortest.py:shortest"]), ROOT / "examples/ci", environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "text"),
    [({}, "the input lock is required"), ({"lock": "a", "locks": "b"}, "unknown input locks: expected some of lock")],
)
def test_inputs_are_checked(steps, given, text):
    with pytest.raises(ValueError, match=text):
        steps.script(action(), given)


def test_steps_that_a_shell_cannot_perform_are_refused(steps):
    inputs = {"lock": {"default": "$(touch x); 'a'"}}
    step = {"shell": "bash", "run": 'printf %s "$LOCK"', "env": {"LOCK": "${{ inputs.lock }}"}}
    script = steps.script({"inputs": inputs, "runs": {"steps": [step]}}, {})
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout == inputs["lock"]["default"]
    for wrong, text in (
        ({"run": "${{ inputs.lock }}"}, "an expression in its script"),
        ({"env": {"A": "${{ github.token }}"}}, "unknown expression github.token"),
        ({"shell": "pwsh"}, "expected bash"),
    ):
        with pytest.raises(ValueError, match=text):
            steps.script({"inputs": inputs, "runs": {"steps": [step | wrong]}}, {})


def test_the_example_uses_hooks_and_inputs_that_exist(steps):
    known = {one["id"] for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    (repo,) = yaml.safe_load((ROOT / "examples/ci/pre-commit-config.yaml").read_text())["repos"]
    assert {one["id"] for one in repo["hooks"]} <= known
    workflow = yaml.safe_load((ROOT / "examples/ci/workflow.yml").read_text())
    (step,) = [one for one in workflow["jobs"]["answers"]["steps"] if "intact" in one["uses"]]
    assert steps.values(action()["inputs"], step["with"])["lock"] == "answers.json"
    assert (ROOT / "examples/ci/answers.json").exists()


PRE_COMMIT = os.environ.get("INTACT_PRE_COMMIT", "") or shutil.which("pre-commit") or ""


@pytest.mark.slow
@pytest.mark.skipif(not PRE_COMMIT, reason="needs pre-commit on the PATH, or its program in INTACT_PRE_COMMIT")
def test_pre_commit_itself_runs_the_hooks(empty, repository, tmp_path):
    _, environment = empty
    who = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
    for name in ("test_sky.py", "answers.json"):
        shutil.copy(repository / name, tmp_path)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    commit = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "Hooks"]
    for command in (["git", "init", "-q"], ["git", "add", "."], commit):
        subprocess.run(command, cwd=hooks, check=True)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "test_sky.py", "answers.json"], cwd=tmp_path, check=True)
    command = [PRE_COMMIT, "try-repo", str(hooks), "intact-answers", "--all-files", "--verbose"]
    done = run(command, tmp_path, environment | who)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
