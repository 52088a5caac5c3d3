"""Answers calibrated by a graded run: what a real server says of them, to whom it says nothing, and what is refused."""

import json
from dataclasses import replace

import httpx
import openai
import pytest
from typer.testing import CliRunner

from intact._base.errors import ParameterError
from intact.cli.app import app
from intact.evaluate.calibrated import open_calibration
from intact.evaluate.files import read
from intact.serve.calibrations import open_calibrations
from intact.serve.models import Loading, Models
from intact.serve.settings import ServerSettings
from intact.stats.intervals import wilson
from intact.stats.prediction import predict_right
from serve.test_command import command
from support.patience import PATIENCE
from support.serving import running
from support.tiny import write_evaluated, write_tiny

PROBLEMS = 30
LIMIT = 24
OWN = {"method": "self_consistency", "n": 4, "answer": "number"}


def evaluated(folder, *options, name="run"):
    """Run `intact eval` on the folder's problems, and return the result's path."""
    file = folder / f"{name}.jsonl"
    words = ["eval", str(folder / "tiny.gguf"), "gsm8k", "--max-tokens", str(LIMIT), "--out", str(file), *options]
    result = CliRunner().invoke(app, words, env={"INTACT_DATA": str(folder / "data")}, prog_name="intact")
    assert result.exit_code == 0, result.stderr
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, and problems whose right answer is for two in three what it answers most often."""
    folder = write_evaluated(tmp_path_factory.mktemp("calibrated"), PROBLEMS)
    votes = ("--method", "self_consistency", "-n", "4")
    found = read(evaluated(folder, *votes, name="first")).records
    problems = folder / "data" / "gsm8k" / "test.jsonl"
    rows = [json.loads(line) for line in problems.read_text().splitlines()]
    for i, (row, record) in enumerate(zip(rows, found, strict=True)):
        if i % 3 and record.answer is not None:
            row["answer"] = f"#### {record.answer}"
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluated(folder, *votes)
    return folder


@pytest.fixture(scope="module")
def server(place):
    with running({"tiny": place / "tiny.gguf"}) as there:
        yield there
        there.settle(there.idle)


@pytest.fixture
def calibrating(server, place):
    """Have the server calibrate by the run for a test."""
    server.service.calibrations = open_calibrations([place / "run.jsonl"], server.service.models, Loading())
    yield
    server.service.calibrations = ()


def body(place, number, **own):
    """Ask a problem of the run as `intact eval` did."""
    row = json.loads((place / "data" / "gsm8k" / "test.jsonl").read_text().splitlines()[number])
    question = open_calibration(place / "run.jsonl").task
    prompt = f"{row['question']}\n\n{question.instruction}" if question.instruction else row["question"]
    return {
        "model": "tiny", "messages": [{"role": "user", "content": prompt}], "max_tokens": LIMIT, "seed": 0,
        "intact": OWN | {"id": f"gsm8k/test/{number}"} | own,
    }  # fmt: skip


def ask(server, content):
    answer = httpx.post(server.url + "/v1/chat/completions", json=content, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()


def answered(place):
    """Return the numbers of problems of which some text gives an answer."""
    return [number for number, record in enumerate(read(place / "run.jsonl").records) if record.answer is not None]


def test_an_answer_has_what_the_run_says_of_it(server, place, calibrating):
    records = read(place / "run.jsonl").records
    right = sum(record.correct for record in records)
    assert 10 < right < PROBLEMS
    for number in answered(place)[:3]:
        found = ask(server, body(place, number))["intact"]
        assert (found["answer"], found["confidence"]) == (records[number].answer, records[number].confidence)
        said = found["calibrated"]
        assert (said["task"], said["right"], said["problems"], said["level"]) == ("gsm8k", right, PROBLEMS, 0.9)
        assert said["next"]["100"] == predict_right(right, PROBLEMS, 100)._asdict()
        low, high = said["chance"]["confidences"]
        alike = [one.correct for one in records if one.confidence is not None and low <= one.confidence <= high]
        assert (said["chance"]["right"], said["chance"]["problems"]) == (sum(alike), len(alike))
        bounds = said["chance"]["low"], said["chance"]["high"]
        assert bounds == pytest.approx(wilson(sum(alike), len(alike), 0.9), abs=1e-9)
        assert said["abstain"] == (said["answers"] != [found["answer"]])
        assert any("of the next 100 are right" in words for words in said["words"])


def test_a_request_may_state_its_level(server, place, calibrating):
    said = ask(server, body(place, 1, level=0.5))["intact"]["calibrated"]
    assert said["level"] == 0.5
    assert any(words.startswith("Of all answers") and "50% sure" in words for words in said["words"])


def test_a_level_is_refused_where_nothing_is_calibrated(server, place):
    answer = httpx.post(server.url + "/v1/chat/completions", json=body(place, 1, level=0.5), timeout=PATIENCE)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "intact.level")


def test_no_other_byte_of_an_answer_changes(server, place):
    content = body(place, 1, trace=True, receipt=True)
    plain = ask(server, content)
    server.service.calibrations = open_calibrations([place / "run.jsonl"], server.service.models, Loading())
    try:
        calibrated = ask(server, content)
    finally:
        server.service.calibrations = ()
    assert "because" not in calibrated["intact"].pop("calibrated")
    assert "calibrated" not in plain["intact"]
    changing = ("id", "created")
    assert json.dumps({k: v for k, v in plain.items() if k not in changing}) == json.dumps(
        {k: v for k, v in calibrated.items() if k not in changing}
    )


def test_a_stream_ends_with_the_same(server, place, calibrating):
    content = body(place, 2)
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        own = content.pop("intact")
        chunks = list(client.chat.completions.create(**content, stream=True, extra_body={"intact": own}))
    (last,) = (chunk.intact for chunk in chunks if getattr(chunk, "intact", {}).get("event") == "result")
    assert last["calibrated"] == ask(server, content | {"intact": own})["intact"]["calibrated"]


@pytest.mark.parametrize(
    ("more", "own", "words"),
    [
        ({}, {"n": 5}, "gsm8k: n is 5, and 4 there"),
        ({"max_tokens": 20}, {}, f"gsm8k: max_tokens is 20, and {LIMIT} there"),
        ({"temperature": 0.5, "top_p": 0.9}, {}, "temperature is 0.5, and 0.7 there; top_p is 0.9, and 1.0 there"),
        ({}, {"method": "best_of_n"}, "gsm8k: the method is best_of_n, and self_consistency there"),
        ({}, {"budget": "tokens=9"}, "gsm8k: tokens of the budget is 9, and null there"),
        ({}, {"mix": "guidance", "shadow": "Hello"}, "gsm8k: mix of the model main is "),
        ({}, {"answer": "text"}, "gsm8k: answers are read differently"),
    ],
)
def test_other_settings_get_no_number_and_the_reason(server, place, calibrating, more, own, words):
    said = ask(server, body(place, 0, **own) | more)["intact"]["calibrated"]
    assert list(said) == ["because"]
    assert words in said["because"]


def test_the_run_of_the_same_settings_is_chosen_among_several(server, place):
    other = evaluated(place, "--method", "self_consistency", "-n", "2", name="two")
    paths = [other, place / "run.jsonl"]
    answered = [[one.answer is not None for one in read(path).records] for path in paths]
    number = next(i for i, both in enumerate(zip(*answered, strict=True)) if all(both))
    server.service.calibrations = open_calibrations(paths, server.service.models, Loading())
    try:
        for own, run in (({"n": 2}, other), ({}, place / "run.jsonl")):
            said = ask(server, body(place, number, **own))["intact"]["calibrated"]
            assert said["sha256"] == open_calibration(run).sha256
    finally:
        server.service.calibrations = ()


def opened(place, *files, model="tiny.gguf", **loading):
    """Open calibrations for a server of a model, which is not started."""
    models = Models({"tiny": str(place / model)}, Loading(**loading), ServerSettings())
    return open_calibrations([place / file for file in files], models, Loading(**loading))


def test_what_no_request_could_match_is_refused_before_the_start(place):
    write_tiny(place / "other.gguf", "qwen3", context=256)
    assert len(opened(place, "run.jsonl")) == 1
    with pytest.raises(ParameterError, match=r"run\.jsonl: the model tiny\.gguf of this run, with weights .* served:"):
        opened(place, "run.jsonl", model="other.gguf")
    with pytest.raises(ParameterError, match=r"profile int8, numerics 1, but the server has fp32, "):
        opened(place, "run.jsonl", profile="fp32")
    with pytest.raises(ParameterError, match=r"run\.jsonl and .*first\.jsonl have the same settings"):
        opened(place, "first.jsonl", "run.jsonl")
    with pytest.raises(ParameterError, match="no such file"):
        opened(place, "none.jsonl")


def changed(place, name, change):
    """Write the run with another manifest, and return the file's name."""
    run = read(place / "run.jsonl")
    (place / name).write_bytes(replace(run, manifest=change(json.loads(json.dumps(run.manifest)))).data())
    return name


def test_methods_that_no_client_may_choose_and_other_back_ends_are_refused(place):
    def endpoint(manifest):
        manifest["models"] = [{"name": "far", "identity": "openai http://far"}]
        return manifest

    def several(manifest):
        manifest["models"] *= 2
        return manifest

    for name, change in (("far.jsonl", endpoint), ("several.jsonl", several)):
        with pytest.raises(ParameterError, match="its method used several models, or an endpoint"):
            opened(place, changed(place, name, change))


def test_the_command_takes_the_file_and_says_what_is_wrong_with_it(place):
    with command(place / "tiny.gguf", "--calibration", str(place / "run.jsonl")) as (url, process):
        asked = body(place, answered(place)[0])
        found = httpx.post(url + "/v1/chat/completions", json=asked, timeout=PATIENCE).json()
        assert found["intact"]["calibrated"]["problems"] == PROBLEMS
    assert "Traceback" not in process.log
    words = ["serve", f"tiny={place / 'tiny.gguf'}", "--port", "0", "--calibration", str(place / "data")]
    result = CliRunner().invoke(app, words, prog_name="intact")
    assert result.exit_code == 2
    result = CliRunner().invoke(app, [*words[:-1], str(place / "run.jsonl"), "--ray", "auto"], prog_name="intact")
    assert "--calibration cannot be combined with --ray" in " ".join(result.stderr.split())


def test_solve_says_the_same(place, server, calibrating):
    content = body(place, 0)
    text = content["messages"][0]["content"]
    words = ["solve", "self_consistency", text, "-n", "4", "--max-tokens", str(LIMIT), "-m", str(place / "tiny.gguf")]
    words += ["--calibration", str(place / "run.jsonl")]
    result = CliRunner().invoke(app, [*words, "--json"], prog_name="intact")
    assert result.exit_code == 0, result.stderr
    solved = json.loads(result.stdout)
    del content["intact"]["id"]
    served = ask(server, content | {"intact": content["intact"] | {"answer": "expression"}})["intact"]
    assert solved["answer"] == served["answer"]
    assert solved["calibrated"] == served["calibrated"]
    result = CliRunner().invoke(app, [*words, "--temperature", "0.1"], prog_name="intact")
    assert result.exit_code != 0
    assert "temperature is 0.1, and 0.7 there" in " ".join(result.stderr.split())
    result = CliRunner().invoke(app, words, prog_name="intact")
    assert "of the next 100 are right" in " ".join(result.stdout.split())
