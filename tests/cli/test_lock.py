import hashlib
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.receipts.lock import Lock, result_digest
from support.clock import set_clock, write_dated
from support.folders import write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS

TODAY, TOMORROW = datetime(2026, 11, 20, 17, 45), datetime(2026, 11, 21, 9)
THEN = "1999-12-31T23:59:59"
ONE = ("Name a colour.", "--max-tokens", "6", "--json")
ASK = ("Name a colour.", "-n", "2", "--temperature", "1", "--max-tokens", "6", "--json")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture
def locked(intact_command, tiny, tmp_path):
    """A lock of a run, and what the run gave."""
    file = tmp_path / "answer.lock"
    made = intact_command("lock", "new", file, "--", "run", tiny, *ASK)
    assert made.code == 0, made.err
    return file, made.json


def statuses(checked):
    return {finding["what"]: finding["same"] for finding in checked.json["findings"]}


def edit(file, change):
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def test_a_locked_result_is_made_again(intact_command, locked, tiny):
    file, answer = locked
    lock = Lock.parse(file.read_bytes())
    assert answer == intact_command("run", "-m", tiny, *ASK).json  # the command's output is shown as it is
    assert lock.run.result == result_digest(answer)
    for options in ((), ("--run",)):
        checked = intact_command("lock", "check", file, *options, "--json")
        assert checked.code == 0
        assert checked.json["same"]
        assert all(statuses(checked).values())
        assert ("result" in statuses(checked)) == bool(options)
    assert "same     weights" in intact_command("lock", "check", file).out


def test_a_locked_command_says_that_the_lock_is_why_no_server_answers(intact_command, tiny, tmp_path):
    made = intact_command("lock", "new", tmp_path / "verbose.lock", "--", "run", tiny, "-v", *ONE)
    assert made.code == 0, made.err
    assert "the model is loaded here, because of intact lock" in made.err


def test_another_seed_is_another_result(intact_command, locked):
    file, _ = locked
    edit(file, lambda lock: lock["run"]["arguments"].extend(["--seed", "1"]))
    checked = intact_command("lock", "check", file, "--run", "--json")
    assert checked.code == 1
    assert [what for what, same in statuses(checked).items() if not same] == ["result"]


def test_one_bit_of_a_weight_is_found_without_running(intact_command, locked, tiny, tmp_path):
    file, _ = locked
    data = bytearray(tiny.read_bytes())
    with open_checkpoint(tiny) as checkpoint:
        tensor = checkpoint.tensors["blk.0.ffn_up.weight"].data.tobytes()
    data[data.index(tensor) + 5] ^= 1
    other = tmp_path / "other.gguf"
    other.write_bytes(data)
    for options in ((), ("--run",)):
        checked = intact_command("lock", "check", file, "--model", f"{tiny}={other}", *options, "--json")
        assert checked.code == 1
        assert not statuses(checked)[f"weights of {tiny}"]
        assert statuses(checked)[f"tokenizer of {tiny}"]
        assert intact_command("lock", "check", file, "--model", f"{tiny}={tiny}", *options).code == 0


def test_what_ends_a_text_is_compared(intact_command, tmp_path):
    """Of a folder it comes from a file of its own, which is in no other digest."""
    write_folder(tmp_path / "folder", VARIANTS["llama"], "llama")
    file = tmp_path / "folder.lock"
    assert intact_command("lock", "new", file, "--model", tmp_path / "folder").code == 0
    assert intact_command("lock", "check", file).code == 0
    (tmp_path / "folder" / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    checked = intact_command("lock", "check", file, "--json")
    assert checked.code == 1
    assert [what for what, same in statuses(checked).items() if not same] == [f"end tokens of {tmp_path / 'folder'}"]


def test_other_versions_of_libraries_are_told_but_decide_nothing(intact_command, locked):
    file, _ = locked
    edit(file, lambda lock: lock["libraries"].update(tokenizers="0.0.1"))
    checked = intact_command("lock", "check", file)
    assert checked.code == 0
    assert "other    version of tokenizers  locked 0.0.1, here " in checked.out
    edit(file, lambda lock: lock["libraries"].update({"x\n\x1b[2Jsame     weights": "1\x9b8m"}))
    told = intact_command("lock", "check", file).out
    assert (told.count("same     weights"), "\nother    version of x\ufffd\ufffd[2Jsame" in told) == (2, True)
    assert {"\x1b", "\x9b"}.isdisjoint(told + intact_command("lock", "check", file, "--json").out)
    edit(file, lambda lock: lock["models"][0]["numerics"].update(version="0"))
    checked = intact_command("lock", "check", file)
    assert checked.code == 1
    assert "differs  numerics of" in checked.out


def test_data_and_files_are_locked_too(intact_command, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))
    problems = tmp_path / "data" / "gsm8k" / "test.jsonl"
    problems.parent.mkdir(parents=True)
    problems.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    method = tmp_path / "mine.py"
    method.write_text(
        "from intact.reason import Answer, method\n\n\n@method('none')\ndef idle(problem):\n"
        "    return Answer('2')\n    yield\n"
    )
    run = ("solve", "mine.py:idle", "--task", "gsm8k", "--model", tiny, "--trace", "trace.jsonl", "--json")
    made = intact_command("lock", "new", "solve.lock", "--result", "trace.jsonl", "--", *run)
    assert made.code == 0, made.err
    lock = Lock.parse(Path("solve.lock").read_bytes())
    names = {item.name: item.sha256 for item in lock.run.files}
    assert names["mine.py"] == hashlib.sha256(method.read_bytes()).digest()
    assert hashlib.sha256(problems.read_bytes()).digest() in names.values()
    assert lock.run.result == hashlib.sha256(Path("trace.jsonl").read_bytes()).digest()
    again = intact_command("lock", "check", "solve.lock", "--run")
    assert again.code == 2
    assert "trace.jsonl already exists: move it away" in again.err
    Path("trace.jsonl").rename("trace.journal")
    again = intact_command("lock", "check", "solve.lock", "--run")
    assert again.code == 2
    assert "trace.journal already exists" in again.err
    Path("trace.journal").unlink()
    method.write_text(method.read_text() + "# nothing\n")
    again = intact_command("lock", "check", "solve.lock", "--run", "--json")
    assert next(what for what, same in statuses(again).items() if not same) == "file mine.py"


def test_a_model_alone(intact_command, tiny, tmp_path):
    file = tmp_path / "paper.lock"
    assert intact_command("lock", "new", file, "--model", tiny, "--profile", "fp32").code == 0
    lock = Lock.parse(file.read_bytes())
    assert lock.run is None
    assert lock.models[0].numerics.profile == "fp32"
    assert intact_command("lock", "check", file).code == 0
    failed = intact_command("lock", "check", file, "--run")
    assert failed.code == 2
    assert "names no command" in failed.err


def test_a_citation_names_the_lock_by_its_content(intact_command, locked):
    file, _ = locked
    lock = Lock.parse(file.read_bytes())
    told = intact_command("lock", "cite", file)
    weights = lock.models[0].digests.weights.hex()
    assert told.out.count("\n") == 1
    assert f"tiny.gguf (weights sha256:{weights})" in told.out
    assert f"lock sha256:{lock.digest.hex()}" in told.out
    entry = intact_command("lock", "cite", file, "--style", "bibtex").out
    assert re.match(r"@misc\{intact-[0-9a-f]{12},\n", entry)
    assert entry.count("{") == entry.count("}")
    file.write_text(json.dumps(json.loads(file.read_text())))  # another indentation
    assert Lock.parse(file.read_bytes()).digest == lock.digest
    assert Lock.parse(lock.text().encode()) == lock


def test_errors_write_nothing(intact_command, tiny, tmp_path):
    file = tmp_path / "x.lock"
    for arguments, message in (
        ((), "give either a command"),
        (("--model", tiny, "--", "run", tiny, "a"), "give either a command"),
        (("--", "run", tiny, "a"), "lacks --json"),
        (("--", "lock", "check", "x"), "a lock cannot be locked"),
        (("--", "models", "--json"), "loaded no model"),
        (("--", "run", tmp_path / "none.gguf", "a", "--json"), "no such file"),
        (("--reads", tmp_path / "none", "--", "run", tiny, *ASK), "cannot be read"),
    ):
        failed = intact_command("lock", "new", file, *arguments)
        assert failed.code == 2, arguments
        assert message in failed.err
        assert not file.exists()
    file.write_text("mine")
    failed = intact_command("lock", "new", file, "--model", tiny)
    assert failed.code == 2
    assert "already exists" in failed.err
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("libraries", ["numpy"], "libraries must be an object of versions"),
        ("libraries", {"numpy": 2}, "libraries must be an object of versions"),
        ("models", {}, "models must be a list"),
    ],
)
def test_a_lock_whose_members_are_of_other_types_is_named(intact_command, locked, member, value, message):
    file, _ = locked
    edit(file, lambda lock: lock.update({member: value}))
    failed = intact_command("lock", "check", file)
    assert failed.code == 2
    assert message in failed.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a lock"),
        (b"[]", "not a lock"),
        (b'{"format":"intact-lock","version":3}', "the lock has version 3, but this program reads versions 1 and 2"),
        (b'{"format":"intact-lock","version":2}', "lacks the member"),
        (b'{"format":"intact-lock","version":1}', "lacks the member"),
        (b"\xff" * 100, "not UTF-8"),
        (b"[" * 100000, "not a lock"),
        (b"0" * (1 << 24), "not a lock"),
    ],
)
def test_what_is_no_lock_is_named(intact_command, tmp_path, content, message):
    file = tmp_path / "x.lock"
    file.write_bytes(content)
    for command in ("check", "cite"):
        failed = intact_command("lock", command, file)
        assert failed.code == 2
        assert message in failed.err


@pytest.fixture(scope="module")
def dated(tmp_path_factory):
    return write_dated(tmp_path_factory.mktemp("dated") / "dated.gguf")


@pytest.mark.parametrize(
    ("command", "now"),
    [
        (("run", *ONE), TODAY.isoformat()),
        (("run", *ONE, "--now", THEN), THEN),
        (("run", *ONE, f"--now={THEN}"), THEN),
        (("solve", "self_consistency", "-n", "2", *ONE, "-m"), "2024-07-26T00:00:00"),
    ],
    ids=["run", "run at a time", "the same with a sign of equality", "solve"],
)
def test_a_lock_made_yesterday_gives_the_same_today(intact_command, dated, tmp_path, monkeypatch, command, now):
    file = tmp_path / "x.lock"
    words = [*command, dated] if command[-1] == "-m" else [command[0], dated, *command[1:]]
    set_clock(monkeypatch, TODAY)
    made = intact_command("lock", "new", file, "--", *words)
    assert made.code == 0, made.err
    lock = Lock.parse(file.read_bytes())
    assert (lock.version, lock.run.now) == (2, now)
    assert lock.run.arguments == tuple(map(str, words))
    set_clock(monkeypatch, TOMORROW)
    checked = intact_command("lock", "check", file, "--run", "--json")
    assert checked.code == 0, checked.out
    assert {"now", "result"} <= {finding["what"] for finding in checked.json["findings"]}
    forged = json.loads(file.read_text())
    forged["run"]["now"] = "2026-11-22T00:00:00"
    file.write_text(json.dumps(forged))
    assert intact_command("lock", "check", file, "--run").code == 1


def test_a_lock_of_version_1_is_read(intact_command, tiny, tmp_path):
    file = tmp_path / "x.lock"
    assert intact_command("lock", "new", file, "--", "run", tiny, *ASK).code == 0
    value = json.loads(file.read_text())
    assert value["version"] == 2
    value["version"] = 1
    del value["run"]["now"]
    file.write_text(json.dumps(value))
    lock = Lock.parse(file.read_bytes())
    assert lock.run.now is None
    assert lock.to_document() == value  # its digest is the one that was cited
    for options in ((), ("--run",)):
        assert intact_command("lock", "check", file, *options).code == 0
    value["run"]["now"] = THEN
    file.write_text(json.dumps(value))
    assert "unknown member" in intact_command("lock", "check", file).err
