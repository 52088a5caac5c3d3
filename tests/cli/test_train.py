"""``intact train``: runs, their folders, interruption and resumption, estimates, exports, refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import intact
from intact.cli import train_output
from intact.train.run_folder import RECEIPT
from support.tiny import write_tiny

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"number {number}"},
            {"role": "assistant", "content": f"it is {number}"},
        ]
    }
    for number in range(6)
]
RECIPE = (
    'steps = 3\nbatch = 2\nrate = "1e-2"\nheld_every = 2\nsave_every = 1\n'
    '[data]\ntrain = "rows.jsonl"\nheld_rows = 2\n[parameters]\nrank = 2\n'
)


def write_rows(path: Path, rows: Any = ROWS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    write_rows(tmp_path / "rows.jsonl")
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A finished run."""
    from intact.cli import main

    folder = tmp_path_factory.mktemp("finished")
    (folder / "r.toml").write_text(RECIPE)
    write_rows(folder / "rows.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["intact", "train", "sft", "r.toml", "-m", str(model), "--to", "run"])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    return folder / "run"


def test_a_run_writes_adapter_receipt_and_history(finished: Path, model: Path, intact_command: Any) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"adapter", "header.json", "history.jsonl", "held.jsonl", "rows.jsonl", "session.json", RECEIPT} <= names
    history = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [(step["step"], step["held"] is not None) for step in history] == [(1, False), (2, True), (3, True)]
    with intact.load(model, adapters={"a": finished / "adapter"}) as loaded:
        before, after = (loaded.generate("number 3", max_tokens=8, adapter=name)[0][0] for name in ("", "a"))
    assert before.tokens != after.tokens
    result = intact_command("verify", str(finished / RECEIPT), "--model", str(model))
    assert result.code == 0, result.err


def test_what_ctrl_c_interrupts_is_saved_and_resumes_to_the_same_bits(
    here: Path, model: Path, finished: Path, intact_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Any, step: Any) -> None:
        if step.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_output.TrainingBar, "__call__", interrupt)
        result = intact_command("train", "sft", "r.toml", "-m", str(model), "--to", "run")
    assert result.code == 130
    assert "stopped after step 2; to continue:\n  intact train resume run" in result.err
    assert not (here / "run" / "adapter").exists()
    result = intact_command("train", "resume", "run", "--json", "--plot", "loss.svg")
    assert result.code == 0, result.err
    assert json.loads(result.out)["steps"] == 3
    assert (here / "run" / RECEIPT).read_bytes() == (finished / RECEIPT).read_bytes()
    assert "held out" in (here / "loss.svg").read_text()


def test_resume_refuses_changed_rows_and_other_models(
    here: Path, model: Path, finished: Path, intact_command: Any
) -> None:
    shutil.copytree(finished, here / "run")
    other = write_tiny(here / "other.gguf", seed=5)
    result = intact_command("train", "resume", "run", "-m", str(other))
    assert (result.code, "another model" in result.err) == (2, True)
    rows = (here / "run" / "rows.jsonl").read_text().splitlines()
    (here / "run" / "rows.jsonl").write_text("\n".join([*rows[1:], rows[0]]) + "\n")
    result = intact_command("train", "resume", "run")
    assert (result.code, "other data" in result.err) == (2, True)
    (here / "run" / "session.json").unlink()
    assert "does not say where its model is" in intact_command("train", "resume", "run").err


def test_an_estimate_says_tokens_memory_disk_and_time(here: Path, model: Path, intact_command: Any) -> None:
    result = intact_command("train", "sft", "r.toml", "-m", str(model), "--dry-run", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["rows"], found["held_rows"], found["steps"]) == (4, 2, 3)
    assert found["tokens"] > 0
    assert found["trained"] == 2 * sum((96 + 72, 96 + 24, 96 + 24, 72 + 96, 96 + 160, 96 + 160, 160 + 96)) * 2
    assert found["tokens_per_second"] > 0
    assert "about 1 min" in intact_command("train", "sft", "r.toml", "-m", str(model), "--dry-run").out
    assert not (here / "run").exists()


def test_a_run_needs_the_room_that_it_estimates(
    here: Path, model: Path, intact_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from intact.train import estimate

    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    result = intact_command("train", "sft", "r.toml", "-m", str(model), "--to", "run")
    assert (result.code, "but 1,000 are free" in result.err) == (2, True)
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("task", "row", "kind"),
    [
        ("preference", {"prompt": "red", "chosen": " one", "rejected": " two"}, "lora"),
        ("heads", {"text": "number", "label": 1}, "head"),
    ],
)
def test_other_kinds_run_from_their_rows(
    here: Path, model: Path, intact_command: Any, task: str, row: Any, kind: str
) -> None:
    write_rows(here / "own.jsonl", [row] * 3)
    (here / "own.toml").write_text(f'task = "{task}"\nsteps = 1\nbatch = 1\n')
    result = intact_command(
        "train", "recipe", "own.toml", "-m", str(model), "--data", "own.jsonl", "--to", "run", "--json"
    )
    assert result.code == 0, result.err
    header = json.loads((here / "run" / "header.json").read_text())
    assert header["settings"]["parameters"]["name"] == kind
    assert (json.loads(result.out)["adapter"] is not None) == (kind == "lora")


def test_a_teacher_is_imitated(here: Path, model: Path, intact_command: Any) -> None:
    teacher = write_tiny(here / "teacher.gguf", seed=9)
    arguments = ("train", "distil", "r.toml", "-m", str(model), "--to", "run", "--json")
    assert "give a teacher" in intact_command(*arguments).err
    result = intact_command(*arguments, "--teacher", str(teacher))
    assert result.code == 0, result.err
    assert json.loads((here / "run" / "header.json").read_text())["teacher"] is not None


def test_exports_from_the_command_line(finished: Path, here: Path, intact_command: Any) -> None:
    result = intact_command("train", "export", str(finished), "--to", "a.gguf", "--form", "gguf", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["form"], found["step"]) == ("gguf", 3)
    assert found["bytes"] == (here / "a.gguf").stat().st_size
    other = write_tiny(here / "other.gguf", seed=5)
    result = intact_command("train", "export", str(finished), "--to", "b", "-m", str(other))
    assert (result.code, "the run of another model" in result.err) == (2, True)
    assert not (here / "b").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a folder for the run (--to), or --dry-run"),
        (("--to", "."), "already exists"),
        (("--to", "run", "--data", "none.jsonl"), "no such file or folder"),
        (("--to", "run", "--data", "pairs.jsonl"), "rows of the format preference; intact train sft takes text"),
        (("--to", "run", "--plot", "x.exe"), "--plot"),
    ],
)
def test_errors_come_before_the_work(
    here: Path, model: Path, intact_command: Any, arguments: tuple[str, ...], message: str
) -> None:
    write_rows(here / "pairs.jsonl", [{"prompt": "a", "chosen": " b", "rejected": " c"}] * 3)
    result = intact_command("train", "sft", "r.toml", "-m", str(model), *arguments)
    assert (result.code, message in result.err.replace("\n", " ")) == (2, True), result.err
    assert not (here / "run").exists()


def test_a_step_is_a_line_with_the_time_left() -> None:
    from intact.train.running import Progress

    step = Progress(3, 1200, 1.25, 1e-4, 0.5, False, 300, 123.4, 3723.0, 0.75)
    assert train_output.describe_step(step) == (
        "step 3 of 1,200  loss 1.250  held-out 0.750  123 tokens/s  about 1:02:03 left"
    )


def test_tensorboard_gets_the_losses(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs tensorboardX: pip install '.[tensorboard]'")
    from intact.train.running import Progress

    with train_output.LossBoard(tmp_path / "board") as board:
        board(Progress(1, 2, 1.25, 1e-4, 0.5, False, 300, 123.4, 1.0))
    (file,) = (tmp_path / "board").iterdir()
    assert b"train/loss" in file.read_bytes()
