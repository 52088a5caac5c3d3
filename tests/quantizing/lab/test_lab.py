"""The lab: exact divergences, sources of the same function, rows that are kept."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.evaluate.report.html import html
from intact.models import ARCHITECTURES
from intact.quantizing.divergence import compare
from intact.quantizing.lab.measure import LabPlan, run_lab
from intact.quantizing.lab.report import report
from intact.quantizing.lab.result import LabResult
from intact.quantizing.lab.sources import write_source
from intact.tasks.choose import choose
from support.architectures import STORED
from support.tiny import write_tiny

TEXT = "the cat sat on the mat and the dog ran to the man " * 60
TOKENS = [5, 9, 40, 77, 12, 200, 31]


def test_divergences_are_those_of_float64() -> None:
    draw = np.random.default_rng(0)
    a = draw.standard_normal((20, 3000)) * 4
    b = a + draw.standard_normal(a.shape) * 0.3
    a, b = (np.round(x * 65536).astype(np.int32) for x in (a, b))
    tokens = draw.integers(0, 3000, 20)
    found = compare(a, b, tokens)
    p, q = (np.exp(x / 65536 - (x / 65536).max(axis=1, keepdims=True)) for x in (a, b))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    assert found.kl == pytest.approx((p * np.log(p / q)).sum(axis=1), abs=1e-7, rel=1e-5)
    assert found.loss == pytest.approx(-np.log(q[np.arange(20), tokens]), abs=2e-6)
    assert np.array_equal(found.same, a.argmax(axis=1) == b.argmax(axis=1))
    assert np.array_equal(found.source_loss, compare(b, a, tokens).loss)
    assert np.all(compare(a, a, tokens).kl == 0)


@pytest.mark.parametrize("architecture", STORED)
@pytest.mark.parametrize("kind", ["permuted", "rotated"])
def test_sources_compute_the_same_function(architecture: str, kind: str, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", architecture)
    shape = ARCHITECTURES[architecture]
    if shape.mixture is not None or shape.layer_norms:
        with pytest.raises(ParameterError, match="do not support mixtures of experts or layer norms"):
            write_source(path, kind, tmp_path / "out")
        return
    if architecture == "hgrn_bit":
        with pytest.raises(ParameterError, match="do not support gated recurrences"):
            write_source(path, kind, tmp_path / "out")
        return
    if kind == "rotated" and shape.norms != "before":
        with pytest.raises(ParameterError, match="can be permuted, but not rotated"):
            write_source(path, kind, tmp_path / "out")
        return
    write_source(path, kind, tmp_path / "out")
    before, after = (intact.load(p, "fp32").logits(TOKENS) for p in (path, tmp_path / "out"))
    assert np.abs(before - after).max() < 1e-4 * np.abs(before).max()
    tensors = [intact.load(p, "fp32").program.tensors for p in (path, tmp_path / "out")]
    name = next(
        name for name in tensors[0] if name.endswith(("attn_q.weight", "attn_q_a.weight", "ssm_in_gate.weight"))
    )
    one, other = (found[name] for found in tensors)
    assert one.data.nbytes != other.data.nbytes or not np.array_equal(one.data, other.data)


def lab_of(model: Path, work: Path, specs: Sequence[str], learnt: Path | None = None, **how: Any) -> LabPlan:
    """Plan a small lab of a text beside the model."""
    how = {"context": 32, "windows": 3, "calibration_windows": 4, "source": "permuted"} | how
    return LabPlan(model, specs, model.with_name("text.txt"), work, learnt, **how)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return write_tiny(tmp_path / "tiny.gguf", context=256)


def test_rows_are_kept_and_more_bits_cost_less(tiny: Path, tmp_path: Path) -> None:
    stages: list[str] = []

    def lab(specs: list[str]) -> LabResult:
        return run_lab(lab_of(tiny, tmp_path / "work", specs), progress=lambda s, *_: stages.append(s))

    first = lab(["int8-32", "int5-32", "int4-32", "int2-32"])
    costs = [row.kl for row in first.rows]
    assert costs == sorted(costs)
    assert costs[0] < 0.1 * costs[3]
    assert all(row.positions == 45 for row in first.rows)
    assert [row.resident_bytes for row in first.rows] == sorted((r.resident_bytes for r in first.rows), reverse=True)
    stages.clear()
    assert [row.kl for row in lab(["int2-32", "int8-32"]).rows] == [costs[3], costs[0]]
    assert not stages
    assert not list((tmp_path / "work").glob("model-*"))


def test_a_work_folder_mixes_up_neither_texts_nor_models(tmp_path: Path) -> None:
    """A row belongs to what decides it, not to the names of files: each is what a fresh folder gives."""
    model, learnt = tmp_path / "tiny.gguf", tmp_path / "learnt.txt"
    (tmp_path / "text.txt").write_text(TEXT)

    def lab(work: str) -> float:
        (row,) = run_lab(lab_of(model, tmp_path / work, ["gptq:int2-32"], learnt, windows=2)).rows
        return row.kl

    found = []
    for seed, words in ((0, TEXT), (0, TEXT[::-1]), (1, TEXT)):
        write_tiny(model, seed=seed)
        learnt.write_text(words)
        found.append(lab("work"))
        assert found[-1] == lab(f"fresh{len(found)}")
    assert len(set(found)) == 3


def test_errors_come_before_the_work(tiny: Path, tmp_path: Path) -> None:
    for specs, how, message in (
        ([], {}, "specs is empty"),
        (["int4-32"], {"windows": 1}, "windows must be at least 2"),
        (["int4-32", "gptq:int3-16"], {}, "needs a calibration text"),
        (["int4-32", "int4-80"], {}, "do not divide rows"),
    ):
        with pytest.raises(ParameterError, match=message):
            run_lab(lab_of(tiny, tmp_path / "work", specs, **how))
    plan = lab_of(tiny, tmp_path / "work", ["int4-32", "int8-32"])
    with pytest.raises(ParameterError, match="generates text"):
        run_lab(plan, tasks=["gsm8k"])
    assert not (tmp_path / "work").exists()
    assert plan.pair("int4, int8") == ("nearest:int4-32@search", "nearest:int8-32@search")
    for pair in ("int4", "int4,int4", "int4,int3"):
        with pytest.raises(ParameterError, match="not a pair A,B"):
            plan.pair(pair)


def test_accuracy_is_that_of_an_evaluation(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "id": str(i),
            "question": f"the {word}?",
            "choices": {"text": ["the cat sat on", "a dog", "dust"], "label": ["A", "B", "C"]},
            "answerKey": "ABC"[i % 3],
        }
        for i, word in enumerate(["cat", "mat", "dog", "man", "mouse", "hat"])
    ]
    (tmp_path / "arc_easy").mkdir()
    (tmp_path / "arc_easy" / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("INTACT_DATA", str(tmp_path))
    plan = lab_of(tiny, tmp_path / "work", ["int8-32", "int2-32"], source="file")
    found = run_lab(plan, tasks=["arc_easy_likelihood"], items=5)
    assert [one.spec for one in found.accuracies] == ["source", "nearest:int8-32@search", "nearest:int2-32@search"]
    model, right = intact.load(tiny, "fp32"), []
    for item in choose("arc_easy_likelihood").load(5):
        context = model.tokenizer.encode(f"Question: {item.question}\nAnswer:")
        scores = []
        for choice in item.data["choices"]:
            tokens = model.tokenizer.encode(f"Question: {item.question}\nAnswer: {choice}")
            z = model.logits(tokens)[len(context) - 1 : -1].astype(np.float64)
            following = tokens[len(context) :]
            scores.append((z[np.arange(len(z)), following] - np.log(np.exp(z).sum(axis=1))).sum())
        right.append(int(np.argmax(scores)) == int(item.answer))
    assert list(found.accuracies[0].right) == right
    assert found.accuracies[0].against(found.accuracies[0])[0] == 0


def test_a_report_has_the_same_bytes_and_speed_stands_apart(tiny: Path, tmp_path: Path) -> None:
    plan = lab_of(tiny, tmp_path / "work", ["int8-32", "int4-32", "int3-16", "int2-32"])
    first, again = (run_lab(replace(plan, work=tmp_path / work)) for work in ("one", "two"))
    assert html(report(first)) == html(report(again))
    assert first.to_dict() == again.to_dict()
    page = html(report(first, [plan.pair("int4,int8")]))
    assert page.count("<svg") == 1
    assert "prefers-color-scheme" in page
    assert "://" not in re.sub(r'(xmlns(:\w+)?|rdf:resource)="[^"]*"', "", page)
    timed = run_lab(replace(plan, specs=["int8-32"]), speed=True)
    assert set(timed.speed) == {"source", "nearest:int8-32@search"}
    assert {len(one.values) for measured in timed.speed.values() for one in measured} == {3}
    about = timed.to_dict()
    assert about.pop("not_repeatable")["speed"].keys() == timed.speed.keys()
    assert about["rows"] == [row for row in first.to_dict()["rows"] if row["spec"] == "nearest:int8-32@search"]
