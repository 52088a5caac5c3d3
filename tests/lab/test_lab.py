"""The lab: exact divergences, sources of the same function, rows that are kept."""

from pathlib import Path

import numpy as np
import pytest

import intact
from intact.errors import ParameterError
from intact.lab.measure import run_lab
from intact.lab.sources import write_source
from intact.quantizing.divergence import compare
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


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("kind", ["permuted", "rotated"])
def test_sources_compute_the_same_function(architecture: str, kind: str, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", architecture)
    if (architecture, kind) == ("gemma3", "rotated"):
        with pytest.raises(ParameterError, match="can be permuted, not rotated"):
            write_source(path, kind, tmp_path / "out")
        return
    write_source(path, kind, tmp_path / "out")
    before, after = (intact.load(p, "fp32").logits(TOKENS) for p in (path, tmp_path / "out"))
    assert np.abs(before - after).max() < 1e-4 * np.abs(before).max()
    name = "blk.0.attn_q.weight"
    one, other = (intact.load(p, "fp32").program.tensors[name] for p in (path, tmp_path / "out"))
    assert one.data.nbytes != other.data.nbytes or not np.array_equal(one.data, other.data)


def test_rows_are_kept_and_more_bits_cost_less(tmp_path: Path) -> None:
    path, text = write_tiny(tmp_path / "tiny.gguf"), tmp_path / "text.txt"
    text.write_text(TEXT)
    stages: list[str] = []
    how = {"context": 32, "windows": 3, "calibration_windows": 4, "source": "permuted"}

    def lab(specs: list[str]) -> list[float]:
        rows = run_lab(
            path, specs, text, tmp_path / "work", calibrate=text, progress=lambda s, *_: stages.append(s), **how
        )
        assert all(row.positions == 45 for row in rows)
        return [row.kl for row in rows]

    first = lab(["int8-32", "int5-32", "int4-32", "int2-32"])
    assert first == sorted(first)
    assert first[0] < 0.1 * first[3]
    stages.clear()
    assert lab(["int2-32", "int8-32"]) == [first[3], first[0]]
    assert not stages


def test_a_work_folder_mixes_up_neither_texts_nor_models(tmp_path: Path) -> None:
    """A row belongs to what decides it, not to the names of files: each is what a fresh folder gives."""
    model, text, learnt = tmp_path / "tiny.gguf", tmp_path / "text.txt", tmp_path / "learnt.txt"
    text.write_text(TEXT)

    def lab(work: str) -> float:
        how = {"context": 32, "windows": 2, "calibration_windows": 4, "source": "permuted"}
        (row,) = run_lab(model, ["gptq:int2-32"], text, tmp_path / work, calibrate=learnt, **how)
        return row.kl

    found = []
    for seed, words in ((0, TEXT), (0, TEXT[::-1]), (1, TEXT)):
        write_tiny(model, seed=seed)
        learnt.write_text(words)
        found.append(lab("work"))
        assert found[-1] == lab(f"fresh{len(found)}")
    assert len(set(found)) == 3
