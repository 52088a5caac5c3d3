"""A model written as a GGUF file: the same weights as the folder, read by gguf-py, refused before any work."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.safetensors import Stored, read_safetensors, write_safetensors
from intact.checkpoints.formats.stored_blocks import blocks_to_bytes
from intact.models import build_program, stored_together
from intact.numerics.dequantize import dequantize
from intact.quantizing import QuantizedModel, quantize
from intact.quantizing.calibration import Calibration, gather, products, read_statistics
from intact.quantizing.receipt import make_receipt
from intact.receipts.identity import identify
from intact.text import Tokenizer
from support.gguf_writer import write_gguf
from support.tiny import write_tiny

TEXT = "the cat sat on the mat and the dog ran to the man " * 60
SPECS = ["q4_0", "imatrix:q4_k", "gptq:q3_k", "mix:4.3@output(gptq:q2_k|q4_k)", "mxfp4"]
SLOW_SPECS = [
    "imatrix:iq1_m", "imatrix:iq3_s", "imatrix:iq1_s",
    "mix:2.8@output(imatrix:iq1_s|iq2_xxs|imatrix:iq2_xs|iq2_s|imatrix:iq3_xxs)"
]  # fmt: skip
HEADS: dict[str, Any] = {"heads": 4, "head_width": 64, "layers": 1, "hidden": 256}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of 256 values, and a head and embeddings of types that are kept."""
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", kinds=["Q4_K", "F16", "IQ3_S"], **HEADS)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


def options(text: Path) -> dict[str, Any]:
    return {"calibrate": text, "context": 32, "windows": 4}


def digests(path: Path) -> Any:
    with open_checkpoint(path) as checkpoint:
        return identify(checkpoint, build_program(checkpoint), Tokenizer.from_checkpoint(checkpoint))[1]


@pytest.mark.parametrize("spec", [*SPECS, *(pytest.param(spec, marks=pytest.mark.nightly) for spec in SLOW_SPECS)])
def test_the_folder_and_the_file_are_the_same_model(spec: str, model: Path, text: Path, tmp_path: Path) -> None:
    file, folder = tmp_path / "out.gguf", tmp_path / "out"
    made, other = (quantize(model, out, spec, **options(text)) for out in (file, folder))
    assert file.is_file()
    assert (made.digest, made.assignment, made.proxy) == (other.digest, other.assignment, other.proxy)
    assert digests(file) == digests(folder)
    tokens = [5, 9, 40, 77, 12]
    answers = [intact.load(path).logits(tokens) for path in (file, folder)]
    assert np.array_equal(*answers)
    assert np.array_equal(answers[0], intact.load(file, executor="reference").logits(tokens))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.gguf"]


def test_gguf_py_reads_metadata_and_matrices(model: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    made = quantize(model, tmp_path / "out.gguf", "q5_k", embeddings="q6_k")
    reader, before = gguf.GGUFReader(tmp_path / "out.gguf"), gguf.GGUFReader(model)
    own = {"general.file_type", "general.quantization_version", "intact.quantization"}
    known = {name for name in before.fields if not name.startswith("GGUF.")}
    assert {name for name in reader.fields if not name.startswith("GGUF.")} == known | own
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q5_K_S
    assert reader.fields["general.quantization_version"].contents() == 2
    assert json.loads(reader.fields["intact.quantization"].contents())["digest"] == made.digest
    for name in known - own:
        assert reader.fields[name].contents() == before.fields[name].contents()
    with open_checkpoint(tmp_path / "out.gguf") as checkpoint:
        for tensor in reader.tensors:
            mine = checkpoint.tensors[tensor.name]
            theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            assert np.array_equal(dequantize(mine.kind, mine.data, mine.shape), theirs.reshape(mine.shape))
        kinds = [tensor.kind for tensor in build_program(checkpoint).tensors.values() if len(tensor.shape) == 2]
    assert (kinds.count("Q5_K"), kinds.count("Q6_K")) == (7, 2)


def test_narrow_rows_take_the_fallback_and_it_is_stated(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf", heads=4, head_width=32)
    made = quantize(model, tmp_path / "out.gguf", "q4_k")
    assert set((made.assignment or {}).values()) == {"nearest:int5-32@q5_0"}
    assert made.bits_per_weight == 5.5


def test_a_file_that_was_cut_goes_on(model: Path, tmp_path: Path) -> None:
    def cut(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(model, tmp_path / "out.gguf", "q4_0", progress=cut)
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf.partial"]
    done = quantize(model, tmp_path / "out.gguf", "q4_0")
    whole: QuantizedModel = quantize(model, tmp_path / "whole.gguf", "q4_0")
    assert done.digest == whole.digest
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_what_gguf_cannot_hold_is_refused_before_the_work(model: Path, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    with pytest.raises(ParameterError, match=r"no GGUF type holds nearest:int4-32@search; expected one of q8_0, "):
        quantize(model, out, "int4-32")
    with pytest.raises(ParameterError, match="no GGUF type holds nearest:int8-32@search"):
        quantize(model, out, "q4_0", embeddings="int8-32")
    with pytest.raises(ParameterError, match=r"need 2\.625 bits per weight in the file, more than 2"):
        quantize(model, out, "mix:2(q2_k|q4_0)", **options(text))
    quantize(model, tmp_path / "folder", "q4_0", embeddings="int8-32")
    with pytest.raises(ParameterError, match=r"stays INTEGER, which GGUF does not support; give a GGUF type for emb"):
        quantize(tmp_path / "folder", out, "q4_0")
    folder = tmp_path / "plain"
    folder.mkdir()
    with open_checkpoint(model) as checkpoint:
        tensors = [t for t in checkpoint.tensors.values() if t.kind in ("F32", "F16")]
        stored = [Stored(t.name, t.kind, t.shape, t.data.nbytes) for t in tensors]
        write_safetensors(folder / "model.safetensors", stored, {t.name: t.data for t in tensors}.__getitem__, {})
        with pytest.raises(FormatError, match=r"config\.json is missing"):
            quantize(folder, out, "q4_0")
    assert not out.exists()
    assert not out.with_name("out.gguf.partial").exists()


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (4, 2, "format version 2, but this program reads version 1"),
        (8, 99, "cannot have shape .* and type 99"),
        (12, 5, "36 bytes of blocks; expected 90 for Q4_0 of 5 x 32"),
        (16, 33, "36 bytes of blocks; expected None for Q4_0 of 2 x 33"),
    ],
)
def test_damaged_headers_of_blocks_are_named(at: int, value: int, message: str, tmp_path: Path) -> None:
    data = blocks_to_bytes("Q4_0", (2, 32), np.zeros(36, np.uint8))
    data[at] = value
    path = tmp_path / "model.safetensors"
    write_safetensors(path, [Stored("w", "U8", data.shape, data.nbytes)], lambda name: data, {})
    with pytest.raises(FormatError, match=message):
        read_safetensors(path)


STACKED = {
    "mamba": "ssm_x",
    "mamba2": "ssm_in",
    "nemotron_h_moe": "ssm_in",
    "phi3": "ffn_up",
    "chatglm": "attn_qkv",
    "qwen3moe": "ffn_up_exps",
}


@pytest.mark.parametrize("architecture", STACKED)
def test_matrices_that_a_file_holds_as_one_are_one_again(architecture: str, text: Path, tmp_path: Path) -> None:
    """So llama.cpp reads the file as it reads the source; the weights are those of the folder."""
    model = write_tiny(tmp_path / "tiny.gguf", architecture, width=64, hidden=64, heads=4, head_width=32)
    made, other = (quantize(model, tmp_path / out, "q4_0", **options(text)) for out in ("out.gguf", "out"))
    assert made.digest == other.digest
    with open_checkpoint(model) as before, open_checkpoint(tmp_path / "out.gguf") as after:
        assert {t.name: t.shape for t in after.tensors.values()} == {t.name: t.shape for t in before.tensors.values()}
        assert after.tensors[f"blk.0.{STACKED[architecture]}.weight"].kind == "Q4_0"
        together = stored_together(before)
    assert f"blk.0.{STACKED[architecture]}.weight" in [one.name for one in together]
    assert digests(tmp_path / "out.gguf") == digests(tmp_path / "out")
    with pytest.raises(
        ParameterError, match=r"is part of another tensor in GGUF files; expected a GGUF file as source"
    ):
        quantize(tmp_path / "out", tmp_path / "again.gguf", "keep", embeddings="q8_0")


def test_matrices_of_one_tensor_cannot_get_several_types(text: Path, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf", "phi3", width=64, hidden=64, heads=4, head_width=32)
    with pytest.raises(ParameterError, match=r"which could get several types; expected one spec for all, or a folder"):
        quantize(model, tmp_path / "mix.gguf", "mix:5@norm(q4_0|q8_0)", **options(text))


def test_matrices_that_stand_row_by_row_are_refused(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf", "deepseek2", width=64)
    with pytest.raises(
        ParameterError, match=r"blk.0.attn_kv_b.weight .* are interleaved row by row; expected a folder"
    ):
        quantize(model, tmp_path / "out.gguf", "keep", embeddings="q8_0")


def importance_of(model: Path, text: Path, path: Path) -> Path:
    """Write what `llama-imatrix` would of a text: the sums of squares of the inputs of each product."""
    with open_checkpoint(model) as checkpoint:
        program = build_program(checkpoint)
        sample = Calibration(tuple(Tokenizer.from_checkpoint(checkpoint).encode(text.read_text())), 32, 4)
        read = read_statistics(gather(program, sample, path.parent / "statistics", "root", 1, lambda: None))
        tensors = {}
        for op, names in products(program).items():
            found = read(op)
            sums = np.ldexp(found.second.diagonal().astype(np.float64), 2 * found.exponent).astype("<f4")
            for name in names:
                tensors[f"{name}.in_sum2"] = ("F32", (1, len(sums)), sums.tobytes())
                tensors[f"{name}.counts"] = ("F32", (1, 1), np.array([found.rows], "<f4").tobytes())
    return write_gguf(path, {"general.type": "imatrix"}, tensors)


@pytest.mark.parametrize("spec", ["imatrix:q4_k", pytest.param("imatrix:iq3_xxs", marks=pytest.mark.slow)])
def test_an_importance_matrix_of_a_text_gives_the_model_of_that_text(spec, model, text, tmp_path) -> None:
    importance = importance_of(model, text, tmp_path / "imatrix.gguf")
    by_text = quantize(model, tmp_path / "text.gguf", spec, **options(text))
    by_file = quantize(model, tmp_path / "file.gguf", spec, imatrix=importance)
    assert by_file.digest == by_text.digest != quantize(model, tmp_path / "plain.gguf", spec.split(":")[1]).digest
    with open_checkpoint(tmp_path / "file.gguf") as checkpoint:
        about = json.loads(checkpoint.metadata["intact.quantization"])
    assert about["imatrix"] == by_file.imatrix == sha256(importance.read_bytes()).hexdigest()
    with pytest.raises(ParameterError, match="made with an imatrix"):
        make_receipt(by_file, 32, 4)


@pytest.mark.parametrize(
    ("spec", "more", "message"),
    [
        ("gptq:q4_k", {}, "@q4_k cannot use an importance matrix; expected the quantiser imatrix"),
        ("q4_k", {}, "q4_k cannot use an importance matrix; expected the quantiser imatrix"),
        ("mix:4.3(imatrix:q4_k|imatrix:q3_k)", {}, "mixtures and transforms need a calibration text"),
        ("imatrix:q4_k", {"calibrate": "text.txt"}, "cannot be combined with calibrate or static"),
        ("imatrix:q4_k", {"static": True}, "has no place for input scales|cannot be combined with calibrate or static"),
    ],
)
def test_where_an_importance_matrix_does_not_serve_is_said_before_the_work(spec, more, message, model, text, tmp_path):
    importance = importance_of(model, text, tmp_path / "imatrix.gguf")
    with pytest.raises(ParameterError, match=message):
        quantize(model, tmp_path / "out.gguf", spec, imatrix=importance, **more)
    assert not list(tmp_path.glob("out*"))


def test_an_importance_matrix_of_another_model_is_refused(model, tmp_path) -> None:
    sums = ("F32", (1, 3), np.ones(3, "<f4").tobytes()), ("F32", (1, 1), np.ones(1, "<f4").tobytes())
    for name, message in (("blk.0.attn_q", r"shape \(1, 3\), expected \(1, 256\)"), ("blk.7.attn_q", "has no sums")):
        tensors = dict(zip((f"{name}.weight.in_sum2", f"{name}.weight.counts"), sums, strict=True))
        other = write_gguf(tmp_path / f"{name}.gguf", {"general.type": "imatrix"}, tensors)
        with pytest.raises(ParameterError, match=message):
            quantize(model, tmp_path / "out.gguf", "imatrix:q4_k", imatrix=other)
