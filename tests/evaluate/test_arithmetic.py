"""What benchmarks/arithmetic.py computes, keeps and says; its peers are not needed."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from support.tiny import write_tiny

pytest.importorskip("statsmodels", reason="needs statsmodels, which compares paired choices")


@pytest.fixture
def benchmarks(root, monkeypatch):
    """Modules of the benchmarks, by name."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    known = set(sys.modules)
    yield __import__
    for name in ("arithmetic", "arithmetic_report", "peers_scores", "common"):
        if name not in known:
            sys.modules.pop(name, None)


def exact(p, q, following):
    """KL, -log q and same top-1 by their definitions, in float64."""
    log_p, log_q = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in (p.astype(float), q.astype(float)))
    chosen = log_q[np.arange(len(q)), following]
    return {
        "kl": float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()),
        "nll": float(-chosen.mean()),
        "top1": float((p.argmax(axis=1) == q.argmax(axis=1)).mean()),
    }


@pytest.mark.parametrize("noise", [1.0, 1e-2])
def test_differences_are_what_their_definitions_say(benchmarks, tmp_path, noise):
    scores = benchmarks("peers_scores")
    rng = np.random.default_rng(1)
    p = rng.normal(0, 4, (150, 1000)).astype(np.float32)
    q = (p + rng.normal(0, noise, p.shape) + 30).astype(np.float32)  # a shift of all logits changes nothing
    following = rng.integers(0, 1000, 150).tolist()
    np.save(tmp_path / "p.npy", p)
    found = scores.differences(q, following, {"p": str(tmp_path / "p.npy")})["p"]
    assert found == pytest.approx(exact(p, q, following), rel=1e-4)
    assert scores.differences(p, following, {"p": str(tmp_path / "p.npy")})["p"]["kl"] == 0


def test_logits_of_other_shapes_are_not_compared(benchmarks, tmp_path):
    np.save(tmp_path / "p.npy", np.zeros((3, 7), np.float32))
    with pytest.raises(SystemExit, match=r"holds logits of shape \(3, 7\), but this program's have \(3, 8\)"):
        benchmarks("peers_scores").differences(np.zeros((3, 8), np.float32), [1, 2, 3], {"p": str(tmp_path / "p.npy")})


def test_a_continuation_is_as_likely_as_its_tokens(benchmarks):
    table = np.random.default_rng(2).normal(0, 2, (20, 20)).astype(np.float32)

    class Bigrams(benchmarks("peers_scores").Scores):
        def logits(self, tokens, first):
            return table[tokens[first:]]

    tokens = [3, 1, 4, 1, 5]
    rows = table.astype(float)
    log_p = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    expected = log_p[1, 4] + log_p[4, 1] + log_p[1, 5]
    assert Bigrams().likelihood(tokens, 2) == pytest.approx(expected, rel=1e-6)


def line(nll, kl, top1=1.0):
    return {name: {"nll": nll, "kl": kl, "top1": top1} for name in ("same", "shipped")}


def test_rows_compare_the_windows_and_questions_that_both_have(benchmarks):
    report = benchmarks("arithmetic_report")
    own, reference = {0: line(2.0, 0.1), 1: line(4.0, 0.3), 2: line(9.0, 9.0)}, {0: line(1.0, 0.0), 1: line(2.0, 0.0)}
    found = report.window_numbers(own, reference)
    assert found["windows"] == 2
    assert found["kl"] == pytest.approx([0.2, 0.1, 0.3])
    assert found["perplexity"] == pytest.approx(math.exp(3))
    assert found["ratio"] == pytest.approx([math.exp(1.5), math.exp(1), math.exp(2)])
    one = {
        "a": {"right": 0, "nats": [-1, -2]},
        "b": {"right": 0, "nats": [-3, -2]},
        "c": {"right": 1, "nats": [-3, -2]},
    }
    two = {"a": {"right": 0, "nats": [-1, -2]}, "b": {"right": 0, "nats": [-1, -2]}}
    found = report.task_numbers(one, two)
    assert (found["questions"], found["right"], found["other_choices"]) == (2, 1, 1)
    assert found["difference"][0] == -0.5
    assert report.window_numbers(own, {}) == report.task_numbers(one, {}) == {}


def test_answers_that_changed_are_counted(benchmarks):
    report = benchmarks("arithmetic_report")
    cells = {
        ("m", "llama", "alone"): {0: [1, 2], 1: [3], 2: [4]},
        ("m", "llama", "together8"): {0: [1, 2], 1: [3, 3], 2: [5]},
        ("m", "llama", "threads2"): {0: [1, 2]},
        ("m", "int8", "alone"): {0: [1]},
    }
    [row] = report.determinism_rows(cells)
    assert (row["prompts"], row["tokens"]) == (3, 4)
    assert row["changed"] == {"together8": [2, 3], "threads2": [0, 1]}
    told = report.report(
        {"fidelity": {}, "task": {}, "determinism": cells}, {"llama": "L"}, {}, {"together8": "8", "again": "again"}
    )
    assert told.markdown.splitlines()[2] == "| m | L | 4 | 2 of 3 |"
    assert "again" not in told.markdown


@pytest.fixture
def data(tmp_path):
    """Questions in the form of the data, and a text."""
    words = "the cat sat on the mat and ate an old rat while it rained in town all day long "
    for folder, rows in (
        ("gsm8k", [{"question": f"What is {i} + {i}?", "answer": "#### 1"} for i in range(3)]),
        (
            "arc_easy",
            [
                {
                    "id": f"q{i}",
                    "question": f"Is {i} even?",
                    "choices": {"text": ["yes", "no"], "label": ["A", "B"]},
                    "answerKey": "A",
                }
                for i in range(3)
            ],
        ),
    ):
        (tmp_path / folder).mkdir()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        for name in ("test", "validation"):
            (tmp_path / folder / f"{name}.jsonl").write_text(text)
    (tmp_path / "text.txt").write_text(words * 20)
    return tmp_path


@pytest.mark.slow
def test_a_run_stopped_at_any_time_goes_on_to_the_same_tables(root, data):
    model = write_tiny(data / "tiny.gguf", "llama")
    results = data / "results"

    def run(*more, code=0):
        command = [sys.executable, str(root / "benchmarks" / "arithmetic.py"), str(model), "--results", str(results)]
        command += ["--text", str(data / "text.txt"), "--programs", "int8", "--weights", "shipped", "--windows", "2"]
        command += ["--context", "32", "--questions", "3", "--prompts", "3", "--tokens", "6", "--threads", "1"]
        command += ["--settings", "alone,together8,chunk32", *more]
        environment = {**os.environ, "INTACT_DATA": str(data)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == code, done.stderr
        return done

    stopped = run("--minutes", "0")
    assert "stopped: run the same command again to continue" in stopped.stderr
    whole = run().stdout
    assert "| as shipped | intact, fp32 | 2 | 0 |" in whole
    assert "| 0 of 3 | 0 of 3 |" in whole
    files = sorted(results.glob("tiny/*.jsonl"))
    assert len(files) == 7  # windows and choices of two profiles, outputs under three settings
    before = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(before[path][:-9])  # the last line is cut off in its midst
    assert run().stdout == whole
    for path in files:
        assert [json.loads(text) for text in before[path].splitlines()] == list(complete_lines(path))
    assert run("--minutes", "0").stdout == whole  # nothing was left to do
    refused = run("--context", "16", code=1)
    assert "with context 32, but this run has 16: choose another folder with --results" in refused.stderr


def complete_lines(path):
    for text in path.read_text().splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            continue
