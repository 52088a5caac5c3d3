"""Models with random weights in the shapes of well-known ones."""

import gguf
import numpy as np
import pytest
from typer.testing import CliRunner

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.cli.app import app
from intact.measure.bench import shapes
from intact.measure.bench.shapes import SHAPES, ModelShape, random_checkpoint, write_random
from intact.models import build_program
from intact.receipts.identity import measure

WEIGHTS = {
    "smollm2-135m": 134.5e6, "qwen2.5-0.5b": 494.0e6, "llama-1b": 1.236e9, "qwen2.5-1.5b": 1.544e9, "llama-3b": 3.213e9,
    "mamba-2.8b": 2.768e9,
    "qwen3-4b": 4.022e9, "llama-8b": 8.030e9, "qwen3-8b": 8.191e9, "phi-4": 14.66e9,
    "olmoe-7b": 6.919e9, "qwen3-30b-a3b": 30.53e9, "gpt-oss-20b": 20.91e9, "llama-70b": 70.55e9,
}  # fmt: skip
"""Parameters, as the models' cards state them."""
ROUNDED = {"mamba2-2.7b": 2.7e9, "matmul-free-2.7b": 2.7e9, "qwen3.5-9b": 9e9}
"""Those of models whose names alone state them."""


@pytest.fixture
def small(monkeypatch):
    """Shapes of a few thousand weights, some of architectures whose files hold several matrices as one."""
    made = {
        "llama": ModelShape("llama", 2, 64, 96, 4, 2, 32, 1100, 256, 1e4, True),
        "phi": ModelShape("phi3", 2, 64, 96, 4, 2, 32, 300, 256, 1e4, False),
        "experts": ModelShape("qwen3moe", 2, 64, 96, 4, 2, 32, 300, 256, 1e4, False, 6, 2, 64),
        "delta": ModelShape(
            "qwen35",
            4,
            64,
            96,
            4,
            2,
            32,
            300,
            256,
            1e4,
            False,
            own=shapes._recurrent(4, 128, 32, 2, full_attention_interval=2),
        ),
        "recurrence": ModelShape("hgrn_bit", 3, 64, 96, 1, 1, 2, 300, 256, 1e4, False),
        "biased": ModelShape("gpt-oss", 2, 64, 96, 4, 2, 32, 300, 256, 1e4, False, 6, 2, 64),
    }
    monkeypatch.setattr(shapes, "SHAPES", made)  # which the command knows them by
    return made


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_as_many_weights_as_their_models(name):
    tensors = random_checkpoint(name).tensors.values()
    count = sum(int(np.prod(tensor.shape)) for tensor in tensors)
    assert count == (
        pytest.approx(ROUNDED[name], rel=1e-2) if name in ROUNDED else pytest.approx(WEIGHTS[name], rel=1e-3)
    )
    assert WEIGHTS.keys() | ROUNDED.keys() == SHAPES.keys()


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "F16"])
@pytest.mark.parametrize("name", ["llama", "phi", "experts", "delta", "recurrence", "biased"])
def test_a_written_file_is_the_model_in_memory(small, tmp_path, name, kind):
    checkpoint = random_checkpoint(name, kind, small[name])
    path = tmp_path / "random.gguf"
    write_random(checkpoint, path)
    tokens = [5, 9, 200, 17]
    with open_checkpoint(path) as written:
        assert measure(build_program(written)).root == measure(build_program(checkpoint)).root
        assert written.metadata["general.architecture"] == small[name].architecture
    answers = [intact.load(model).generate(tokens, max_tokens=8, seed=3)[0][0].tokens for model in (checkpoint, path)]
    assert answers[0] == answers[1]


def test_lists_of_integers_have_the_type_that_other_programs_read(small, tmp_path):
    write_random(random_checkpoint("llama", "Q4_0", small["llama"]), tmp_path / "random.gguf")
    types = gguf.GGUFReader(tmp_path / "random.gguf").fields["tokenizer.ggml.token_type"].types
    assert types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32]


def test_the_same_shape_is_the_same_model_everywhere(small):
    made = random_checkpoint("llama", shape=small["llama"])
    assert measure(build_program(made)).root.hex()[:16] == "0e53b98659e3d0b4"


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ParameterError, match="did you mean llama-8b"):
        random_checkpoint("lama-8b")
    with pytest.raises(ParameterError, match="no type named 'Q4'"):
        random_checkpoint("llama-8b", "Q4")
    with pytest.raises(ParameterError, match="not a whole number of blocks of Q4_K"):
        random_checkpoint("smollm2-135m", "Q4_K")
    with pytest.raises(ParameterError, match="at least 259 tokens"):
        shapes.tokenizer_metadata(258)


def test_the_command_measures_and_writes(small, tmp_path):
    run = CliRunner().invoke
    measured = run(app, ["bench", "--shape", "llama", "--only", "stream", "--repeats", "1", "--json"])
    assert measured.exit_code == 0, measured.output
    assert '"llama in Q4_0, random"' in measured.stdout
    path = tmp_path / "made.gguf"
    assert run(app, ["bench", "--shape", "llama", "--gguf", str(path)]).exit_code == 0
    assert open_checkpoint(path).metadata["general.name"] == "llama with random weights"
    wanted = path.read_bytes()
    for words, message in (
        (["--gguf", str(tmp_path / "x.gguf")], "--gguf and --type need --shape NAME"),
        (["--type", "Q8_0"], "--gguf and --type need --shape NAME"),
        (["--shape", "llama", "--gguf", str(path)], "already exists"),
        ([str(path), "--shape", "llama"], "leave out"),
        (["--shape", "lama"], "did you mean llama?"),
    ):
        refused = run(app, ["bench", *words])
        assert (refused.exit_code, message in " ".join(refused.output.split())) == (2, True), refused.output
    assert path.read_bytes() == wanted
