"""One root for a model: every bit that can change an answer changes it, and each tensor can be proved to belong."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.models import Program, build_program
from intact.models.ops import Attend, Norm
from intact.receipts import canonical, identity
from intact.receipts.identity import (
    Weights,
    check_proof,
    describe,
    digests_of,
    measure,
    numerics_of,
    program_leaf,
    root_of,
    tensor_leaf,
    weights_of,
)
from intact.text import Tokenizer
from support.architectures import STORED
from support.folders import write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS

GOLDEN = {
    "afmoe": "4ef72c2a209e0225",
    "bitnet-b1.58": "6b3cb5428caa9369",
    "hgrn_bit": "8b31d683f2b8b1ee",
    "ernie4_5-moe": "aaf2cab059254ed5",
    "gemma": "2cafd9dc7a51da21",
    "gemma4": "0f19f29b77ba5a54",
    "olmo": "0fbf880cf64e2567",
    "qwen2vl": "b838f727f3a0d9e0",
    "qwen3vl": "29d5dec63f527220",
    "qwen3vlmoe": "0906d933bb259b78",
    "llama": "b115d80828d31296",
    "lfm2": "e980c4db240c9bf9",
    "lfm2moe": "08db9d2da2878c5b",
    "mamba2": "d4fa3fb14418f60b",
    "granitehybrid": "c064cfe90913aa9c",
    "falcon-h1": "49c77b79968d13d7",
    "exaone": "cda89b314dc50c08",
    "deepseek2": "b09467fc6b2e74ed",
    "qwen2": "e88469f4224de9dd",
    "qwen3": "c268612fad5a4afb",
    "gemma3": "e493fa0f388b62a1",
    "granite": "7c283a64ba94809d",
    "olmo2": "1af825ac47fd1dc2",
    "phi3": "97f66151bd4e3be7",
    "chatglm": "2eb15a6e493d3d8d",
    "ernie4_5": "5acfb430799ffb2c",
    "exaone4": "b30c05b12af2b9ca",
    "glm4": "9c744d7eb05bc098",
    "hunyuan-dense": "0559df918ed68f67",
    "internlm2": "6e0b7a2ee31991b7",
    "minicpm": "7baf4ad668e63d07",
    "mistral3": "c0d69040f086fa8c",
    "seed_oss": "74da0277b64d61fe",
    "smollm3": "a31ae561419bdacd",
    "arcee": "e6d49a583bd385f0",
    "gpt-oss": "df07edadfed7507c",
    "nemotron": "d1b3f3a9eb768598",
    "nemotron_h": "a23c1efc34fe1ac4",
    "nemotron_h_moe": "75d198ab1d75f240",
    "jamba": "bd4f7482924e45e8",
    "mamba": "dd54a5e54557578b",
    "mamba3": "6b6de29792b41f4b",
    "cohere2": "3f28201200ccbcc3",
    "command-r": "43141ada0b28b0fe",
    "gemma2": "437b353ba7d7ff5f",
    "granitemoe": "8aedcfd6a89b1d20",
    "olmoe": "20c549303b11b459",
    "qwen2moe": "d3563c11dfccb1bc",
    "qwen3moe": "7942da22e0d31687",
    "qwen3next": "c91834ed34dc64e3",
    "qwen35": "b5317706a6fbf6fd",
    "qwen35moe": "0dc6335321f9bdd1",
    "stablelm": "e68108cbee4bc706",
    "starcoder2": "dc515c94d203c02f",
    "dots1": "32f3f5f3d96560eb",
    "exaone-moe": "4ec4a633c45bab5d",
    "glm4moe": "1d17b91469f20742",
    "gptneox": "fd458127bbbecaef",
    "hunyuan-moe": "baaafdd9161d93e1",
    "minimax-m2": "8c5ff40b8baa4568",
    "minicpm3": "4fc1d5f76b3f4912",
    "bailingmoe2": "b7b819a5ffdfba4d",
    "tokenizer": "4008ec90ce416ba1",
    "template": "9fe579a2c222698c",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "gemma3")


@pytest.fixture(scope="module")
def program(tiny: Path) -> Program:
    return build_program(open_checkpoint(tiny))


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, read aloud."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


@given(st.integers(1, 40), st.data())
def test_every_leaf_is_proved_and_nothing_else(count: int, data: st.DataObject) -> None:
    leaves = [hashlib.sha256(bytes([i])).digest() for i in range(count)]
    root = root_of("sha256", leaves)
    assert root == naive_root(leaves)
    index = data.draw(st.integers(0, count - 1))
    weights = Weights("sha256", tuple(map(str, range(count))), tuple(leaves))
    proof = weights.prove(str(index))
    assert len(proof.path) <= (count - 1).bit_length()
    assert check_proof("sha256", root, leaves[index], proof)
    other = data.draw(st.integers(-1, count).filter(lambda i: i != index))
    assert not check_proof("sha256", root, leaves[index], replace(proof, index=other))
    assert not check_proof("sha256", root, leaves[index], replace(proof, path=(*proof.path, leaves[0])))
    assert not check_proof("sha256", root, leaves[index], replace(proof, path=proof.path[:-1])) or not proof.path
    assert not check_proof("sha256", root, b"x" * 32, proof)
    assert not check_proof("sha256", b"x" * 32, leaves[index], proof)
    for at in range(len(proof.path)):
        path = (*proof.path[:at], b"x" * 32, *proof.path[at + 1 :])
        assert not check_proof("sha256", root, leaves[index], replace(proof, path=path))


def test_the_root_is_what_the_documentation_says(program: Program) -> None:
    """Every byte that is hashed, written out once more."""
    leaves = [hashlib.sha256(b"\0" + json.dumps(describe(program), sort_keys=True, separators=(",", ":")).encode())]
    for name in sorted(program.tensors):
        tensor = program.tensors[name]
        shape = ",".join(map(str, tensor.shape))
        head = f'{{"kind":"{tensor.kind}","name":"{name}","shape":[{shape}]}}\n'
        leaves.append(hashlib.sha256(b"\0" + head.encode() + tensor.data.tobytes()))
    weights = measure(program)
    assert list(weights.leaves) == [leaf.digest() for leaf in leaves]
    assert weights.root == naive_root(weights.leaves)
    assert weights.tensors == len(program.tensors)


def test_threads_do_not_matter(program: Program) -> None:
    assert measure(program, threads=1) == measure(program, threads=3)


def test_one_tensor_is_proved_from_its_bytes_alone(program: Program) -> None:
    weights = measure(program, "blake3")
    name = "blk.1.attn_q.weight"
    leaf = tensor_leaf("blake3", name, program.tensors[name])
    assert check_proof("blake3", weights.root, leaf, weights.prove(name))
    assert check_proof("blake3", weights.root, program_leaf("blake3", program), weights.prove(""))
    with pytest.raises(ParameterError, match=r"no tensor 'blk\.9'"):
        weights.prove("blk.9")


def test_every_tensor_counts_to_its_last_bit(program: Program) -> None:
    weights = measure(program)
    for name, tensor in program.tensors.items():
        for at in (0, -1):
            data = tensor.data.copy()
            data[at] ^= 1
            assert tensor_leaf("sha256", name, replace(tensor, data=data)) not in weights.leaves
    renamed = {("x" + name if name.endswith("0.ffn_up.weight") else name): t for name, t in program.tensors.items()}
    assert measure(replace(program, tensors=renamed)).root != weights.root


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, context=p.context - 1),
        lambda p: replace(p, vocabulary=p.vocabulary - 1),
        lambda p: replace(p, rotations=(p.rotations[0] + np.uint64(1), *p.rotations[1:])),
        lambda p: replace(p, ops=tuple(replace(o, eps=o.eps * 2) if isinstance(o, Norm) else o for o in p.ops)),
        lambda p: replace(p, ops=tuple(replace(o, window=o.window + 1) if isinstance(o, Attend) else o for o in p.ops)),
        lambda p: replace(
            p,
            ops=tuple(replace(o, scale=o.scale + Fraction(1, 1 << 60)) if isinstance(o, Attend) else o for o in p.ops),
        ),
        lambda p: replace(p, ops=p.ops[:-2] + p.ops[-1:]),
        lambda p: replace(p, buffers={**p.buffers, "result": replace(p.buffers["result"], wide=False)}),
    ],
)
def test_every_hyperparameter_counts(program: Program, change: Callable[[Program], Program]) -> None:
    assert program_leaf("sha256", change(program)) != program_leaf("sha256", program)


def test_descriptions_hold_no_floats_and_come_back(program: Program) -> None:
    data = canonical.encode(describe(program))
    value = canonical.read(data, "it")
    canonical.require_canonical(value, data, "it")


def test_roots_do_not_change_with_the_package(tmp_path: Path) -> None:
    """Old receipts must verify for ever: these digests may change with the receipts' version alone."""
    found = {}
    for architecture in STORED:
        checkpoint = open_checkpoint(write_tiny(tmp_path / f"{architecture}.gguf", architecture))
        found[architecture] = measure(build_program(checkpoint)).root.hex()[:16]
    tokenizer = Tokenizer.from_checkpoint(checkpoint)
    found["tokenizer"] = identity.tokenizer_digest("sha256", checkpoint, tokenizer).hex()[:16]
    template = identity.template_digest("sha256", tokenizer)
    assert template is not None
    found["template"] = template.hex()[:16]
    assert found == GOLDEN


def test_tokenizers_differ_by_whatever_changes_tokens(tmp_path: Path) -> None:
    seen = set()
    for number, metadata in enumerate(
        (
            {},
            {"tokenizer.ggml.add_bos_token": True},
            {"tokenizer.ggml.eos_token_id": 0},
            {"tokenizer.ggml.pre": "llama-bpe"},
            {"tokenizer.ggml.merges": ["e t"]},
        )
    ):
        checkpoint = open_checkpoint(write_tiny(tmp_path / f"{number}.gguf", metadata=metadata))
        seen.add(identity.tokenizer_digest("sha256", checkpoint, Tokenizer.from_checkpoint(checkpoint)))
    assert len(seen) == 5


def test_a_model_knows_its_digests(tiny: Path) -> None:
    model = intact.load(tiny)
    own = digests_of(model)
    assert own.weights == measure(model.program).root == weights_of(model).root
    assert own.tensors == len(model.program.tensors)
    assert own.ends == tuple(sorted(model.tokenizer.eos_ids))
    assert own.name == "tiny gemma3 0"
    assert digests_of(model) is own  # read once
    assert digests_of(model, "blake3").weights != own.weights
    assert numerics_of(model) == numerics_of(intact.load(tiny, bits=8))
    assert numerics_of(intact.load(tiny, "fp32")).profile == "fp32"


def test_folders_of_safetensors_have_roots_too(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS["llama"], "llama")
    model = intact.load(folder)
    own = digests_of(model)
    assert own.weights == measure(model.program).root
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes() + b"\n")
    assert digests_of(intact.load(folder)).tokenizer != own.tokenizer
    model = intact.load(folder)
    file.unlink()
    with pytest.raises(ReceiptError, match=r"tokenizer.json cannot be read again"):
        digests_of(model)


def test_what_a_list_of_words_makes_of_texts_is_in_its_digest(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "A")))
    checkpoint = Checkpoint(tmp_path, "safetensors", {}, {})
    digests = []
    for options in ({}, {"model_max_length": 512}, {"do_lower_case": False}, {"strip_accents": True}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
        digests.append(identity.tokenizer_digest("sha256", checkpoint, Tokenizer.from_checkpoint(checkpoint)))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
