"""Quantising a model: the same digest however it is run, resumed where it stopped, refused before any work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.models.ops import Gather
from intact.numerics.integers import INTEGER
from intact.quantizing import Calibration, pipeline, quantize
from intact.quantizing.calibration import Collector, _second_moments, products, read_statistics, write_statistics
from intact.quantizing.pipeline import RECORD
from support.folders import write_encoder, write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.encoders import ENCODERS

TEXT = "the cat sat on the mat and the dog ran to the man " * 60


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


def options(text: Path) -> dict[str, Any]:
    return {"calibrate": text, "context": 32, "windows": 4}


def logits(path: Path, **how: Any) -> np.ndarray:
    return intact.load(path, **how).logits([5, 9, 40, 77, 12])


@pytest.mark.parametrize("variant", ["llama", "gemma4", "mamba", "mamba3", "hgrn-bit"])
def test_the_largest_inputs_of_a_folder_are_read_again(variant: str, text: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, VARIANTS[variant], variant)
    quantize(folder, tmp_path / "out", "keep", static=True, **options(text))
    found = logits(tmp_path / "out", profile="int8_static")
    assert np.array_equal(found, logits(tmp_path / "out", profile="int8_static", executor="reference"))
    assert not np.array_equal(found, logits(tmp_path / "out"))


def test_the_largest_inputs_of_an_encoder_are_read_again(text: Path, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path, ENCODERS["bert"], "bert")
    quantize(folder, tmp_path / "out", "keep", static=True, **options(text))
    found, plain = (
        intact.load(tmp_path / "out", profile=name).embed(["the cat"], pooling="mean")[0].vector
        for name in ("int8_static", "int8")
    )
    assert not np.array_equal(found, plain)


@pytest.mark.parametrize("spec", ["int4-32", "gptq:int3-16", "nf4-64", "int4-row", "int5a-32"])
def test_a_quantised_model_runs_and_both_executors_agree(spec: str, model: Path, text: Path, tmp_path: Path) -> None:
    if spec == "nf4-64":
        with pytest.raises(ParameterError, match="blocks of 64 do not divide rows of 96"):
            quantize(model, tmp_path / "out", spec, **options(text))
        assert not list(tmp_path.iterdir())
        return
    done = quantize(model, tmp_path / "out", spec, **options(text))
    with open_checkpoint(tmp_path / "out") as checkpoint:
        kinds = [tensor.kind for tensor in build_program(checkpoint).tensors.values()]
    assert kinds.count(INTEGER) >= done.matrices == 14
    assert (tmp_path / "out" / "quantization.json").is_file()
    assert np.array_equal(logits(tmp_path / "out"), logits(tmp_path / "out", executor="reference"))
    assert not np.array_equal(logits(tmp_path / "out"), logits(model))


@pytest.mark.parametrize(
    "spec", ["ptqtp:trits-32", "fairy2i:phases1", "llm_int8:int8s-row@largest", "impact20:int4-32"]
)
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_several_planes_run_as_one_matrix(spec: str, name: str, text: Path, tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "tiny.gguf", name)
    done = quantize(source, tmp_path / "out", spec, **options(text))
    with open_checkpoint(tmp_path / "out") as checkpoint:
        ops = build_program(checkpoint).ops
    assert any(isinstance(op, Gather) for op in ops)
    if not spec.startswith("llm_int8"):
        assert 5 <= done.bits_per_weight < 7  # columns that pad a plane count
    reference = logits(tmp_path / "out", executor="reference")
    for threads in (1, 3):
        assert np.array_equal(logits(tmp_path / "out", threads=threads), reference)
    floats = logits(tmp_path / "out", profile="fp32")
    assert np.abs(floats - reference).max() < 0.2 * np.abs(reference).max()
    with pytest.raises(ParameterError, match=r"has an index of its inputs.*use the model that it was made from"):
        quantize(tmp_path / "out", tmp_path / "again", "int4-32")


@pytest.mark.parametrize(("profile", "within"), [("int8", 0.2), ("mxfp8", 0.2), ("mxfp8e5m2", 0.4)])
def test_weights_of_fp8_are_multiplied_by_inputs_of_fp8(
    profile: str, within: float, model: Path, tmp_path: Path
) -> None:
    quantize(model, tmp_path / "out", "mxfp8")
    reference = logits(tmp_path / "out", executor="reference", profile=profile)
    for threads in (1, 3):
        assert np.array_equal(logits(tmp_path / "out", threads=threads, profile=profile), reference)
    floats = logits(tmp_path / "out", profile="fp32")
    assert np.abs(floats - reference).max() < within * np.abs(floats).max()


def test_embeddings_have_no_planes(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="ptqtp:trits-32@search makes several planes"):
        quantize(model, tmp_path / "out", "int4-32", embeddings="ptqtp:trits-32")


def test_matrices_of_codebooks_that_are_kept_stay_what_they_are(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "iq.gguf", kinds=["IQ2_XXS", "IQ2_XS", "IQ3_XXS"])
    quantize(source, tmp_path / "out", "int4-32")
    assert np.array_equal(logits(tmp_path / "out"), logits(tmp_path / "out", executor="reference"))


def test_the_digest_does_not_depend_on_how_it_is_run(
    model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    for threads, memory in ((1, 4 << 30), (3, 1)):
        monkeypatch.setattr("intact.quantizing.calibration.MEMORY", memory)
        done = quantize(model, tmp_path / f"out{threads}", "gptq:int3-16", threads=threads, **options(text))
        digests.add(done.digest)
    assert len(digests) == 1


def test_a_run_that_was_cut_goes_on(model: Path, text: Path, tmp_path: Path) -> None:
    whole = quantize(model, tmp_path / "whole", "gptq:int3-16", **options(text))

    def cut(stage: str, done: int, total: int) -> None:
        if stage == "quantize" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(model, tmp_path / "out", "gptq:int3-16", progress=cut, **options(text))
    assert not (tmp_path / "out").exists()
    parts = sorted((tmp_path / "out.partial").glob("*.weight"))
    assert len(parts) == 5
    before = [part.stat().st_mtime_ns for part in parts]
    seen = []
    with pytest.raises(ParameterError, match="work of another run"):
        quantize(model, tmp_path / "out", "gptq:int3-32", **options(text))

    def watch(stage: str, done: int, total: int) -> None:
        seen.append(stage)
        if stage == "quantize" and done == total:
            assert [part.stat().st_mtime_ns for part in parts] == before

    done = quantize(model, tmp_path / "out", "gptq:int3-16", progress=watch, **options(text))
    assert "quantize" in seen
    assert (done.digest, done.proxy) == (whole.digest, whole.proxy)
    assert not (tmp_path / "out.partial").exists()


def test_what_is_kept_computes_the_same(model: Path, tmp_path: Path) -> None:
    """Matrices that are left alone keep their integers: quantising nothing changes no bit."""
    quantize(model, tmp_path / "once", "int8-32")
    again = quantize(tmp_path / "once", tmp_path / "twice", "int8-32")
    record = json.loads((tmp_path / "twice" / "quantization.json").read_text())
    assert record["digest"] == again.digest
    with open_checkpoint(model) as a, open_checkpoint(tmp_path / "once") as b:
        assert a.tensors.keys() == b.tensors.keys()
        assert {k: v for k, v in a.metadata.items() if k.startswith("tokenizer")}.keys() <= b.metadata.keys()


def test_embeddings_have_a_spec_of_their_own(model: Path, tmp_path: Path) -> None:
    done = quantize(model, tmp_path / "out", "int4-32", embeddings="int8-32")
    assert done.matrices == 16
    assert 4.5 < done.bits_per_weight < 8.5
    with pytest.raises(ParameterError, match="needs calibration"):
        quantize(model, tmp_path / "other", "int4-32", embeddings="gptq:int8-32")


def test_mistakes_are_named_before_the_work(model: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ParameterError, match="already exists"):
        quantize(model, tmp_path / "there", "int4")
    with pytest.raises(ParameterError, match="to must be a spec, such as 'int4-32', got 5"):
        quantize(model, tmp_path / "out", 5)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="needs a calibration text"):
        quantize(model, tmp_path / "out", "gptq:int4")
    with pytest.raises(
        ParameterError, match=r"needs a calibration text; .* or llama.cpp's importance matrix with `imatrix`"
    ):
        quantize(model, tmp_path / "out", "imatrix:q4_k")
    with pytest.raises(ParameterError, match=r"the text has .* tokens; 999 windows of 32 need 31968"):
        quantize(model, tmp_path / "out", "gptq:int4", calibrate=text, context=32, windows=999)
    with pytest.raises(ParameterError, match=r"windows of 100000 tokens exceed the model's"):
        quantize(model, tmp_path / "out", "gptq:int4", calibrate=text, context=100_000, windows=1)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_statistics_are_exact_sums(model: Path, tmp_path: Path) -> None:
    with open_checkpoint(model) as checkpoint:
        program = build_program(checkpoint)
        ops = list(products(program))
        sample = Calibration(tuple(range(3, 131)), 32, 4)
        one, three = (Collector(program, threads).collect(sample, ops) for threads in (1, 3))
        rows = list(Collector(program, 1).inputs(sample, ops[:1]))
    for op in ops:
        assert np.array_equal(one[op].second, three[op].second)
        assert 1 << 19 <= one[op].largest.max() <= 1 << 20
    exact = np.zeros(one[ops[0]].second.shape)
    for (a,) in rows:
        x = a.codes * np.repeat(a.scale.astype(float), 32, axis=1) * np.ldexp(1.0, a.exponent)[:, None]
        exact += x.T @ x
    got = one[ops[0]].second * 2.0 ** (2 * one[ops[0]].exponent)
    assert np.allclose(got, exact, rtol=1e-4, atol=1e-4 * exact.max())
    write_statistics(tmp_path / "s.safetensors", {str(op): one[op] for op in ops}, {"model": "m", "text": "t"})
    again = read_statistics(tmp_path / "s.safetensors")
    for op in ops:
        for mine, theirs in zip(again(op), one[op], strict=True):
            assert np.array_equal(mine, theirs)


MIXTURE = "mix:5.2@output(int2-32|gptq:int3-16|int4-32|int8-32)"


def test_a_mixture_keeps_its_budget_and_states_its_assignment(model: Path, text: Path, tmp_path: Path) -> None:
    done = quantize(model, tmp_path / "out", MIXTURE, **options(text))
    assert done.assignment is not None
    assert len(done.assignment) == done.matrices == 14
    assert len(set(done.assignment.values())) > 1
    assert done.bits_per_weight <= 5.2
    record = json.loads((tmp_path / "out" / "quantization.json").read_text())
    assert (record["assignment"], record["digest"]) == (done.assignment, done.digest)
    uniform = quantize(model, tmp_path / "four", "int4-32", **options(text))
    assert uniform.assignment is None
    assert "assignment" not in json.loads((tmp_path / "four" / "quantization.json").read_text())
    assert np.array_equal(logits(tmp_path / "out"), logits(tmp_path / "out", executor="reference"))


def test_a_mixture_loses_no_more_than_one_spec_of_its_size(model: Path, text: Path, tmp_path: Path) -> None:
    mixed = quantize(model, tmp_path / "mixed", "mix:4.5@output(int4-32|int2-32|int3-32|int8-32)", **options(text))
    uniform = quantize(model, tmp_path / "uniform", "mix:4.5@output(int4-32|int5-32)", **options(text))
    assert set((uniform.assignment or {}).values()) == {"nearest:int4-32@search"}  # nothing else fits
    assert uniform.digest == quantize(model, tmp_path / "plain", "int4-32").digest
    assert mixed.bits_per_weight <= uniform.bits_per_weight == 4.5
    assert mixed.proxy is not None
    assert uniform.proxy is not None
    assert mixed.proxy <= uniform.proxy


def test_a_mixture_that_was_cut_goes_on(model: Path, text: Path, tmp_path: Path) -> None:
    whole = quantize(model, tmp_path / "whole", MIXTURE, threads=1, **options(text))

    def cut(stage: str, done: int, total: int) -> None:
        if stage == "quantize" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(model, tmp_path / "out", MIXTURE, progress=cut, **options(text))
    parts = sorted((tmp_path / "out.partial").glob("*.weight"))
    assert len(parts) == 3 * 4
    before = [part.stat().st_mtime_ns for part in parts]

    def watch(stage: str, done: int, total: int) -> None:
        if stage == "quantize" and done == total:
            assert [part.stat().st_mtime_ns for part in parts] == before

    done = quantize(model, tmp_path / "out", MIXTURE, threads=3, progress=watch, **options(text))
    assert (done.digest, done.assignment, done.proxy) == (whole.digest, whole.assignment, whole.proxy)


def test_mistakes_of_mixtures_are_named_before_the_work(model: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="needs a calibration text"):
        quantize(model, tmp_path / "out", MIXTURE)
    with pytest.raises(ParameterError, match=r"need 2\.500 bits per weight in memory, more than 2"):
        quantize(model, tmp_path / "out", "mix:2(int2-32|int4-32)", **options(text))
    with pytest.raises(ParameterError, match="blocks of 64 do not divide"):
        quantize(model, tmp_path / "out", "mix:5(int4-32|nf4-64)", **options(text))
    assert not list(tmp_path.iterdir())


def test_second_moments_of_many_rows_are_exact() -> None:
    """More rows than float64 adds exactly at once: the sums are those of Python's integers, in any order."""
    rows = np.full((9001, 2), (1 << 20) - 1, np.int64)
    rows[::2, 1] = 3 - (1 << 20)
    exact = [[sum(int(a) * int(b) for a, b in rows[:, [i, j]].tolist()) for j in range(2)] for i in range(2)]
    assert _second_moments(rows).tolist() == exact
    assert _second_moments(rows[::-1]).tolist() == exact


def cut_at(stage: str, done: int) -> Callable[[str, int, int], None]:
    """Return a progress that is broken off at a point."""

    def cut(found: str, at: int, total: int) -> None:
        if (found, at) == (stage, done):
            raise KeyboardInterrupt

    return cut


def test_a_run_that_was_cut_before_it_did_anything_hinders_no_other(model: Path, tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "out.partial"
    with pytest.raises(KeyboardInterrupt):
        quantize(model, out, "int3-16", progress=cut_at("quantize", 0))
    assert [path.name for path in work.iterdir()] == [RECORD]
    assert quantize(model, out, "int4-32").spec.startswith("nearest:int4-32")
    for leftover in ((), ("quantization.json.0123456789abcdef.part",), ("a.weight.0123456789abcdef.part",)):
        shutil.rmtree(out)
        work.mkdir()
        for name in leftover:
            (work / name).write_text("{")
        quantize(model, out, "int4-32")
        assert not work.exists()


def test_a_run_that_was_cut_at_its_very_end_leaves_nothing_that_hinders(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, work = tmp_path / "out", tmp_path / "out.partial"
    remove = pipeline._remove_work

    def cut(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "_remove_work", cut)
    with pytest.raises(KeyboardInterrupt):
        quantize(model, out, "int3-16")
    assert out.exists()
    assert work.exists()
    monkeypatch.setattr(pipeline, "_remove_work", remove)
    with pytest.raises(ParameterError, match="already exists"):
        quantize(model, out, "int3-16")
    assert not work.exists()


def test_a_folder_of_other_files_is_never_removed(model: Path, tmp_path: Path) -> None:
    work = tmp_path / "out.partial"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match=r"work of another run; delete it"):
        quantize(model, tmp_path / "out", "int4-32")
    assert (work / "notes.txt").read_text() == "mine"


def test_work_of_another_run_or_version_is_named_by_what_differs(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        quantize(model, tmp_path / "out", "int3-16", progress=cut_at("quantize", 2))
    with pytest.raises(ParameterError, match="another run, which differs in spec; delete it"):
        quantize(model, tmp_path / "out", "int4-32")
    with monkeypatch.context() as patched:
        patched.setattr(intact, "__version__", "0.0.1")
        with pytest.raises(ParameterError, match="another run, which differs in package; delete it"):
            quantize(model, tmp_path / "out", "int3-16")
    assert quantize(model, tmp_path / "out", "int3-16").path.exists()
