"""inspect_ai finds the provider and the scorer; its logs are verified, and forged ones are refused."""

import json
import struct
import sys
from pathlib import Path

import pytest

from intact._base.errors import LogError, ParameterError
from intact.cli.receipt_verifier import ReceiptVerifier
from intact.cli.verify_log import check_log
from intact.integrations import inspect_log, inspect_sample
from intact.integrations.inspect_log import InspectLog
from intact.receipts.identity import Proof, check_proof
from support.eval_logs import contents, model_event, put, sample_of, write_log

inspect_ai = pytest.importorskip("inspect_ai", reason="inspect_ai is not installed")
pytest.importorskip("zstandard", reason="zstandard, which .eval logs need, is not installed")

import intact  # noqa: E402
from support.serving import running  # noqa: E402


@pytest.fixture(scope="module")
def weather():
    from inspect_ai.tool import tool

    @tool
    def get_weather():
        async def execute(city: str) -> str:
            """Get the weather of a city.

            Args:
                city: The city.
            """
            return f"{city}: rain"

        return execute

    return get_weather()


def evaluate(model, folder, weather, **settings):
    """Run a task of two samples with a tool and this package's judge; return its log."""
    from inspect_ai import Task
    from inspect_ai import eval as run
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate, system_message, use_tools

    from intact.integrations.inspect_ai import judge

    samples = [
        Sample("Why is the sky blue, and " + "why, " * 40 + "why?", target="air", id=1),
        Sample("Name a colour.", target="red", id="a/b"),
    ]
    solver = [system_message("Be brief."), use_tools(weather), generate(tool_calls="none")]
    (log,) = run(
        Task(samples, solver=solver, scorer=[includes(), judge()], epochs=2),
        model=model,
        max_tokens=12,
        log_dir=str(folder),
        display="none",
        **settings,
    )
    assert log.status == "success", log.error
    return log


@pytest.fixture(scope="module")
def log_path(installed, tiny_path, tmp_path_factory, weather):
    """A log of a tiny model in this process, found by the entry point alone."""
    from inspect_ai.model import get_model

    assert "intact.integrations.inspect_ai" not in sys.modules
    model = get_model(f"intact/{tiny_path}")
    log = evaluate(model, tmp_path_factory.mktemp("logs"), weather)
    return Path(log.location)


@pytest.fixture(scope="module")
def verifier(tiny_path):
    model = intact.load(tiny_path, drafter="off")
    return ReceiptVerifier(lambda *_: model, (), None, None, False, None)


def refused(path, verifier, root=None):
    """Return the verdicts that are not true."""
    return [one for one in check_log(path, verifier, root).verdicts if one.outcome != "true"]


def test_every_answer_of_a_log_is_verified(log_path, verifier):
    result = check_log(log_path, verifier, None)
    assert [one.outcome for one in result.verdicts] == ["true"] * 8
    assert result.outcome == "true"
    assert len({one.digest for one in result.verdicts}) == 8, "epochs have draws of their own"


def test_a_second_run_on_a_server_has_the_same_answers_root(log_path, verifier, tiny_path, tmp_path, weather):
    with running({"tiny": tiny_path}) as server:
        log = evaluate("intact/tiny", tmp_path, weather, model_base_url=server.url)
    here, there = check_log(log_path, verifier, None), check_log(Path(log.location), verifier, None)
    assert there.outcome == "true"
    assert there.answers_root == here.answers_root
    assert there.root != here.root


def test_the_root_is_that_of_rfc_9162_and_paths_lead_to_it(log_path):
    with InspectLog(log_path) as log:
        for i, leaf in enumerate(log.leaves):
            proof = Proof(i, len(log.leaves), tuple(log.path_to_root(i)))
            assert check_proof("sha256", bytes.fromhex(log.root.hex()), leaf, proof)


def change_text(sample):
    sample["output"]["choices"][0]["message"]["content"] += "!"
    sample["output"]["completion"] += "!"


def change_text_everywhere(sample):
    for output in (sample["output"], model_event(sample)["output"]):
        output["choices"][0]["message"]["content"] += "!"
        output["completion"] += "!"
    sample["messages"][-1]["content"] += "!"


def change_receipt(sample):
    receipt = model_event(sample)["output"]["metadata"]["intact"]["receipts"][0]
    receipt["output"]["tokens"][3] ^= 1


def drop_receipt(sample):
    model_event(sample)["output"]["metadata"]["intact"]["receipts"] = []


def change_question(sample):
    for message in sample["events_data"]["messages"]:
        if message["role"] == "system":
            message["content"] = "Be long."


def change_seed(sample):
    model_event(sample)["output"]["metadata"]["intact"]["seed"] += 1


def change_temperature(sample):
    model_event(sample)["config"]["temperature"] = 0.5


def change_limit(sample):
    model_event(sample)["config"]["max_tokens"] = 13


def change_tools(sample):
    model_event(sample)["tools"][0]["description"] = "Get the tides."


def change_reason(sample):
    model_event(sample)["output"]["choices"][0]["stop_reason"] = "content_filter"


def change_score(sample):
    score = sample["scores"]["judge"]
    score["value"] = 1.0 - score["value"]


def change_labels(sample):
    change_score(sample)
    sample["scores"]["judge"]["metadata"]["intact_judge"]["labels"].reverse()


def change_target(sample):
    sample["target"] = "green"


def hide_generation(sample):
    sample["events"] = [event for event in sample["events"] if event["event"] != "model"]


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (change_text, "log"),
        (change_text_everywhere, "text"),
        (change_receipt, "token"),
        (drop_receipt, "receipt"),
        (change_question, "prompt"),
        (change_seed, "sampling"),
        (change_temperature, "sampling"),
        (change_limit, "sampling"),
        (change_tools, "prompt"),
        (change_reason, "text"),
        (change_score, "log"),
        (change_labels, "log"),
        (change_target, "log"),
        (hide_generation, "log"),
    ],
)
def test_a_forged_sample_is_refused_by_name(log_path, verifier, tmp_path, edit, what):
    members = contents(log_path)
    sample = sample_of(members, "a/b_epoch_2")
    edit(sample)
    put(members, "a/b_epoch_2", sample)
    found = refused(write_log(tmp_path / "forged.eval", members), verifier)
    assert found
    assert all(one.where.startswith("sample 'a/b', epoch 2") for one in found)
    assert {one.outcome for one in found} == {"false"}
    assert what in {one.what for one in found}


def test_receipts_of_another_sample_are_refused(log_path, verifier, tmp_path):
    members = contents(log_path)
    one, other = (sample_of(members, name) for name in ("1_epoch_1", "a/b_epoch_1"))
    mine, theirs = model_event(one)["output"], model_event(other)["output"]
    mine["metadata"], theirs["metadata"] = theirs["metadata"], mine["metadata"]
    one["attachments"], other["attachments"] = (one["attachments"] | other["attachments"],) * 2
    put(members, "1_epoch_1", one)
    put(members, "a/b_epoch_1", other)
    found = refused(write_log(tmp_path / "forged.eval", members), verifier)
    assert [one.what for one in found] == ["prompt", "prompt"]


def test_removed_added_and_exchanged_samples_are_refused(log_path, verifier, tmp_path):
    def faults(members):
        return [one.detail for one in refused(write_log(tmp_path / "forged.eval", members), verifier)]

    members = contents(log_path)
    del members["samples/1_epoch_2.json"]
    assert any("its file is missing" in one for one in faults(members))
    summaries = json.loads(members["summaries.json"])
    members["summaries.json"] = json.dumps([one for one in summaries if (one["id"], one["epoch"]) != (1, 2)]).encode()
    assert any("its file is missing" in one for one in faults(members))
    header = json.loads(members["header.json"])
    header["eval"]["config"]["epochs"] = 1
    del members["samples/a/b_epoch_2.json"]
    members["header.json"] = json.dumps(header).encode()
    assert any("summaries" in one or "lists other samples" in one for one in faults(members))
    members = contents(log_path)
    one, other = "samples/1_epoch_1.json", "samples/1_epoch_2.json"
    members[one], members[other] = members[other], members[one]
    assert any("samples were exchanged" in one for one in faults(members))
    members = contents(log_path)
    members["samples/3_epoch_1.json"] = members[one]
    assert any("the header does not list this sample" in one for one in faults(members))
    members = contents(log_path)
    members["summaries.json"] = json.dumps(json.loads(members["summaries.json"])[::-1]).encode()
    assert any("in another order" in one for one in faults(members))
    members = contents(log_path)
    header = json.loads(members["header.json"])
    header["eval"]["dataset"]["sample_ids"].reverse()
    members["header.json"] = json.dumps(header).encode()
    assert any("eval.dataset is not that of _journal/start.json" in one for one in faults(members))
    doubled = [*contents(log_path).items(), (one, contents(log_path)[one])]
    with pytest.warns(UserWarning, match="Duplicate name"):
        found = faults(doubled)
    assert any("in the archive twice" in one for one in found)


def test_a_consistent_forgery_is_refused_by_the_root(log_path, verifier, tmp_path):
    root = check_log(log_path, verifier, None).root
    assert not refused(log_path, verifier, root)
    members = contents(log_path)
    sample = sample_of(members, "1_epoch_1")
    sample["scores"]["includes"]["value"] = "C"
    put(members, "1_epoch_1", sample)
    (found,) = refused(write_log(tmp_path / "forged.eval", members), verifier, root)
    assert found.what == "root"
    assert "was changed, added, removed or moved" in found.detail


def test_the_command_prints_the_roots_and_ends_with_the_outcome(log_path, tiny_path, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from intact.cli.app import app

    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))

    def run(*words):
        return CliRunner().invoke(app, ["verify", *map(str, words), "--model", str(tiny_path)], prog_name="intact")

    done = run(log_path, "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["outcome"], found["true"]) == (0, "true", 8)
    assert "8 answers true" in run(log_path, "--root", found["samples_root"]).stdout
    forged = run(log_path, "--root", "0" * 64)
    assert forged.exit_code == 1
    assert "FALSE  root: the samples have the root" in forged.stdout
    assert f"samples root  {found['samples_root']}" in forged.stdout
    for words, text in {
        (log_path, "--root", "1f"): "--root must be 64 hexadecimal digits",
        (log_path, log_path): "give one .eval log at a time",
        (log_path, "--tokens", "3"): "an .eval log is checked whole",
        ("some.receipt", "--root", "0" * 64): "--root is for .eval logs",
        (tmp_path / "none.eval",): "none.eval is no .eval log",
    }.items():
        refused = run(*words)
        assert refused.exit_code
        assert text in " ".join(refused.stderr.split()), words


def test_hostile_files_are_refused_before_they_are_parsed(log_path, tmp_path, monkeypatch):
    members = contents(log_path)
    file = tmp_path / "hostile.eval"

    def failing(text, **changed):
        with pytest.raises(LogError, match=text), InspectLog(write_log(file, members | changed)) as log:
            list(log.samples())

    file.write_bytes(b"PK\3\4 and nothing else")
    with pytest.raises(LogError, match=r"no \.eval log"):
        InspectLog(file)
    first = "samples/1_epoch_1.json"
    failing(r"header\.json", **{"header.json": b"[]"})
    failing("must be a list of ids", **{"header.json": b'{"status": "success", "eval": {"dataset": {}}}'})
    failing("is not valid JSON", **{first: b"{"})
    failing("nested too deep", **{first: b"[" * 100_000})
    failing("duplicate member", **{first: b'{"id": 1, "id": 2}'})
    failing("which inspect_ai does not write", **{first: b'{"id": 1, "epoch": "1"}'})
    monkeypatch.setattr(inspect_log, "MOST_BYTES", 1 << 20)
    failing("more than 1,048,576 bytes", **{first: b" " * (1 << 21)})
    data = bytearray(log_path.read_bytes())
    at = data.index(b"samples/") + 60
    data[at] ^= 1
    file.write_bytes(data)
    with pytest.raises(LogError, match="is damaged"), InspectLog(file) as log:
        list(log.samples())
    data = bytearray(log_path.read_bytes())
    central = data.rindex(b"PK\1\2")
    data[central + 10 : central + 12] = struct.pack("<H", 99)
    file.write_bytes(data)
    with pytest.raises(LogError, match="unknown method 99"):
        InspectLog(file)


def read_all(path):
    """Read all answers of a log."""
    with InspectLog(path) as log:
        return [answer for sample in log.samples() for answer in sample.answers()]


def test_a_small_file_that_claims_much_is_refused_before_it_is_copied(log_path, tmp_path, monkeypatch):
    def failing(text, edit):
        members = contents(log_path)
        sample = sample_of(members, "1_epoch_1")
        sample["attachments"]["x"] = "x" * (1 << 20)
        edit(sample)
        put(members, "1_epoch_1", sample)
        with pytest.raises(LogError, match=text):
            read_all(write_log(tmp_path / "log.eval", members))

    def receipt(sample):
        model_event(sample)["output"]["metadata"]["intact"]["receipts"][0]["chain"] = ["attachment://x"] * 1000

    def messages(sample):
        sample["events_data"]["messages"][0]["content"] = "attachment://x"
        model_event(sample)["input_refs"] = [[0, 1]] * 1000

    failing("its receipt has more than 8,388,608 characters", receipt)
    failing("its request has more than 67,108,864 characters", messages)
    monkeypatch.setattr(inspect_sample, "MOST_FILLED", 1 << 20)
    failing("with its attachments it has more than 1,048,576 characters", messages)
    failing("input_refs must be pairs", lambda sample: model_event(sample).update(input_refs=[[0]]))
    failing("is not in the form that inspect_ai writes", lambda sample: model_event(sample).update(config=[]))


def test_an_archive_that_unpacks_to_more_than_its_header_says_is_refused(log_path, tmp_path, monkeypatch):
    import zstandard

    monkeypatch.setattr(inspect_log, "MOST_BYTES", 1 << 16)
    bomb = zstandard.compress(b" " * (1 << 24))
    name = b"header.json"
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 93, 0, 0, 0, len(bomb), 10, len(name), 0) + name + bomb
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 93, 0, 0, 0, len(bomb), 10, len(name), 0, 0, 0, 0, 0, 0)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry) + len(name), len(local), 0)
    file = tmp_path / "bomb.eval"
    file.write_bytes(local + entry + name + end)
    with pytest.raises(LogError, match="more than 65,536 bytes"):
        InspectLog(file)


def test_the_example_of_the_page_runs(installed, tiny_path, tmp_path, root, verifier):
    import re

    from inspect_ai import eval as run

    page = (root / "docs" / "integrations.md").read_text()
    code = re.search(r'```py title="sky.py"\n(.*?)```', page, re.DOTALL)[1]
    names = {}
    exec(code, names)
    (log,) = run(names["sky"](), model=f"intact/{tiny_path}", max_tokens=8, log_dir=str(tmp_path), display="none")
    assert log.status == "success", log.error
    result = check_log(Path(log.location), verifier, None)
    assert [one.outcome for one in result.verdicts] == ["true", "true"]


def test_the_provider_names_what_it_cannot_do(installed, tiny_path):
    from inspect_ai.model import get_model

    with pytest.raises(ParameterError, match="unknown model argument 'colour'"):
        get_model(f"intact/{tiny_path}", colour=1, memoize=False)
    with pytest.raises(ParameterError, match="the address must be http"):
        get_model("intact/tiny", base_url="ftp://x", memoize=False)
    with pytest.raises(ParameterError, match="cannot be set for a server"):
        get_model("intact/tiny", base_url="http://127.0.0.1:1", threads=1, memoize=False)
