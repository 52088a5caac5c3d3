"""The independent verifier finds receipts of the package true, and every forgery false at the right place."""

import ast
import base64
import copy
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ReceiptError
from intact.checkpoints.formats.gguf import read_gguf
from intact.receipts import document
from intact.receipts.opening import commit
from intact.receipts.verify import verify
from support.gguf_writer import write_gguf
from support.independent import PROGRAM, v
from support.models import real_model
from support.patience import PATIENCE
from support.tiny import write_tiny

PROMPTS = ("Why is the sky blue?", "Once upon a time")
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "plain": {"seed": 7, "logprobs": True},
    "filters": {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "seed": -3},
    "typical": {"temperature": 1.5, "typical_p": 0.6, "ignore_eos": True},
    "stop": {"temperature": 1.2, "stop": ("e", "th", " a")},
    "context": {"ignore_eos": True, "max_tokens": 200},
}
CODES = ("Q4_0", "F16", "Q8_0", "Q4_1", "Q5_0", "F32", "Q5_1", "BF16")

Receipt = dict[str, Any]


class Tiny:
    """A model, as the package has it and as the program does."""

    def __init__(self, path: Path, kv: str | None = None) -> None:
        self.path, self.package = path, intact.load(path, kv=kv)
        file = v.Gguf(path)
        self.model, self.tokenizer = v.Llama(file), v.Tokenizer(file.metadata)

    def receipt(self, **sampling: Any) -> Receipt:
        asked = {"max_tokens": 16, "ignore_eos": True, "logprobs": True, "temperature": 0.7, "seed": 7, **sampling}
        return v.parse(self.package.generate(PROMPTS[0], receipt=True, **asked)[0][0].receipt.encode())

    def verdict(self, receipt: Receipt) -> Any:
        return v.verify(v.parse(v.canonical(receipt)), self.model, self.tokenizer)

    def chained(self, receipt: Receipt) -> Receipt:
        """What a forger makes of a changed receipt: the chain and log-probabilities that this model gives for it."""
        prompt, tokens = receipt["request"]["prompt"], receipt["output"]["tokens"]
        whole = self.model.run(np.array(prompt + tokens[:-1]), v.PROFILES[receipt["numerics"]["profile"]])
        source = v.Activations(*(x[len(prompt) - 1 :] for x in whole))
        header = {name: part for name, part in receipt.items() if name not in ("output", "chain")}
        chain, link = b"", v.sha256(b"intact-receipt-chain-1\n", v.sha256(v.canonical(header)))
        for token, state in zip(tokens, v.states(source), strict=True):
            link = v.sha256(link, struct.pack("<i", token), state)
            chain += link
        receipt["chain"] = base64.urlsafe_b64encode(chain).rstrip(b"=").decode()
        receipt["output"]["logprobs"] = [
            v.log_probability(z, t) for z, t in zip(self.model.logits(source), tokens, strict=True)
        ]
        _, _, receipt["output"]["text"] = v.ending(receipt, self.model, self.tokenizer)
        return receipt


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", kinds=CODES, context=64))


@pytest.fixture
def receipt(tiny: Tiny) -> Receipt:
    return copy.deepcopy(tiny.receipt())


def first_difference(a: list[int], b: list[int]) -> int:
    return next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)


def test_the_program_needs_nothing_but_numpy() -> None:
    tree = ast.parse(PROGRAM.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"numpy"}


@pytest.mark.parametrize("sampling", SAMPLING.values(), ids=SAMPLING.keys())
def test_receipts_of_the_package_are_true(tiny: Tiny, sampling: dict[str, Any]) -> None:
    answers = tiny.package.generate(PROMPTS, n=2, receipt=True, **{"max_tokens": 20, **sampling})
    for answer in (answer for samples in answers for answer in samples):
        assert tiny.verdict(v.parse(answer.receipt.encode())) == (True, "", None)


MIXES: list[tuple[str, dict[str, float]]] = [
    ("guidance", {"scale": 2.5}),
    ("m3id", {"decay": 0.2}),
    ("m3id", {"certain": 0.06}),
    ("uscd", {"deviation": 0.02}),
    ("uscd", {}),
    ("uscd", {"deviation": 1, "floor": 0.1}),
    ("contrastive", {}),
    ("proxy", {"scale": 0.5}),
]


@pytest.mark.parametrize(("name", "values"), MIXES)
def test_receipts_of_mixes_are_true(tiny: Tiny, tmp_path: Path, name: str, values: dict[str, float]) -> None:
    """And another shadow, partner or parameter is found out."""
    paths = [write_tiny(tmp_path / f"{seed}.gguf", kinds=CODES, context=64, seed=seed) for seed in (5, 6)]
    model = intact.load(tiny.path, partners=paths[: {"contrastive": 1, "proxy": 2}.get(name, 0)])
    asked: dict[str, Any] = {"mix": {"name": name, **values}, "max_tokens": 12, "temperature": 0.8, "receipt": True}
    asked |= {"ignore_eos": True, "logprobs": True} | ({} if model.partners else {"shadow": "Say it."})
    receipt = v.parse(model.generate(PROMPTS[0], **asked)[0][0].receipt.encode())
    others = [v.Llama(v.Gguf(path)) for path in paths[::-1]]
    assert v.verify(receipt, tiny.model, tiny.tokenizer, others) == (True, "", None)
    receipt["request"]["decoding"]["parameters"][next(iter(values), "floor" if name == "uscd" else "beta")] += 10**5
    assert v.verify(receipt, tiny.model, tiny.tokenizer, others) == (False, "hidden state", 0)
    receipt["request"]["decoding"]["parameters"]["more"] = 1
    assert v.verify(receipt, tiny.model, tiny.tokenizer, others) == (False, "decoding", None)
    receipt["request"]["decoding"]["version"] = 1 if name == "uscd" else 2
    with pytest.raises(v.CannotVerifyError, match=f"there is no version . of the mix {name}"):
        v.verify(receipt, tiny.model, tiny.tokenizer, others)
    if model.partners:
        with pytest.raises(v.CannotVerifyError, match="takes another model"):
            v.verify(receipt, tiny.model, tiny.tokenizer, others[:0])


@pytest.mark.parametrize("head_width", [24, 64])
@pytest.mark.parametrize("kv", v.CODECS)
def test_receipts_of_codecs_are_true(tmp_path: Path, kv: str, head_width: int) -> None:
    """Under the name of no codec they are not, whatever else a forger makes again."""
    path = write_tiny(tmp_path / "tiny.gguf", kinds=CODES, context=64, head_width=head_width, heads=4, kv_heads=2)
    tiny = Tiny(path, kv)
    assert tiny.package.executor.profile == f"int8+kv-{kv}"
    receipt = tiny.receipt()
    assert tiny.verdict(receipt) == (True, "", None)
    receipt["numerics"]["profile"] = "int8"
    assert tiny.verdict(receipt) == (False, "hidden state", 0)
    assert tiny.verdict(tiny.chained(receipt)).what == "token"


def test_a_codec_holds_for_every_stream_of_a_mix(tiny: Tiny, tmp_path: Path) -> None:
    partner = write_tiny(tmp_path / "partner.gguf", kinds=CODES, context=64, seed=5)
    model = intact.load(tiny.path, kv="int84", partners=[partner])
    asked: dict[str, Any] = {"mix": {"name": "contrastive"}, "max_tokens": 8, "ignore_eos": True, "temperature": 0.8}
    receipt = v.parse(model.generate(PROMPTS[0], receipt=True, logprobs=True, **asked)[0][0].receipt.encode())
    assert v.verify(receipt, tiny.model, tiny.tokenizer, [v.Llama(v.Gguf(partner))]) == (True, "", None)


def test_heads_that_a_codec_does_not_hold_are_named(tmp_path: Path) -> None:
    tiny = Tiny(write_tiny(tmp_path / "tiny.gguf", kinds=CODES, context=64, head_width=20))
    receipt = tiny.receipt(max_tokens=2)
    receipt["numerics"]["profile"] = "int8+kv-int8"
    with pytest.raises(v.CannotVerifyError, match="takes no heads of 20 columns"):
        tiny.verdict(receipt)


YARN = {"type": "yarn", "factor": 4.0, "original_context_length": 16}
SCALINGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "llama3": ({}, ("rope_freqs",)),
    "linear": ({"type": "linear", "factor": 2.5}, ()),
    "factor alone": ({"factor": 3.0}, ()),
    "none": ({"type": "none", "factor": 3.0}, ()),
    "yarn": (YARN, ()),
    "yarn, betas": (YARN | {"yarn_beta_fast": 3.0, "yarn_beta_slow": 0.3, "attn_factor": 0.9}, ()),
    "yarn, at one index": (YARN | {"yarn_beta_slow": 3.0}, ()),
    "yarn, divisors": (YARN, ("rope_freqs",)),
    "longrope, long": ({"type": "longrope", "original_context_length": 32}, ("rope_factors_long",)),
    "longrope, short": ({"attn_factor": 1.19}, ("rope_factors_short", "rope_factors_long")),
}


def scaled(path: Path, name: str) -> Tiny:
    """A model whose rotary angles are scaled."""
    values, lists = SCALINGS[name]
    write_tiny(path, kinds=CODES, context=64, metadata={f"llama.rope.scaling.{key}": x for key, x in values.items()})
    metadata, stored = read_gguf(path)
    tensors = {key: (one.kind, one.shape, one.data.tobytes()) for key, one in stored.items()}
    for part in lists:  # the divisors of the short list are others than those of the long one
        divisors = np.linspace(1.0, 3.0 + len(part) % 3, 12, dtype="<f4")
        tensors[f"{part}.weight"] = ("F32", divisors.shape, divisors.tobytes())
    return Tiny(write_gguf(path, metadata, tensors))


@pytest.mark.parametrize("name", SCALINGS)
def test_receipts_of_scaled_rotations_are_true(tmp_path: Path, name: str) -> None:
    tiny = scaled(tmp_path / "scaled.gguf", name)
    program = tiny.package.program
    assert tiny.model.turns == [int(turn) for turn in program.rotations[0]]
    assert (tiny.model.rotary_factor,) == program.factors()
    assert (tiny.model.rotary_factor != 1) == name.startswith(("yarn", "longrope, short"))
    assert tiny.verdict(tiny.receipt()) == (True, "", None)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"type": "dynamic", "factor": 2.0}, "'dynamic'"),
        ({"type": "linear", "factor": 2.0, "attn_factor": 1.5}, "'linear' with an attn_factor of 1.5"),
        ({"type": "longrope"}, "rope_factors_short.weight is absent"),
        (YARN | {"yarn_log_multiplier": 0.1}, "yarn_log_multiplier"),
        (YARN | {"attn_factor": 2.0}, "not 1/128 to 7/4"),
        (YARN | {"yarn_beta_fast": 1e-9, "yarn_beta_slow": 1.0}, "beta_slow"),
        (YARN | {"factor": float("nan")}, "no positive number"),
    ],
)
def test_scalings_that_are_not_implemented_are_named(tmp_path: Path, values: dict[str, Any], named: str) -> None:
    metadata = {f"llama.rope.scaling.{key}": x for key, x in values.items()}
    path = write_tiny(tmp_path / "tiny.gguf", kinds=CODES, metadata=metadata)
    with pytest.raises(v.CannotVerifyError, match=named):
        v.Llama(v.Gguf(path))


def test_commitments_to_layers_are_true(tiny: Tiny) -> None:
    receipt = v.parse(commit(tiny.package, document.Receipt.parse(v.canonical(tiny.receipt()))).encode())
    assert tiny.verdict(receipt) == (True, "", None)
    coded = Tiny(tiny.path, "int4")
    line = commit(coded.package, document.Receipt.parse(v.canonical(coded.receipt()))).encode()
    assert tiny.verdict(v.parse(line)) == (True, "", None)
    receipt["layers"]["root"] = "00" * 32
    assert tiny.verdict(receipt) == (False, "layers", None)
    receipt["layers"] |= {"count": 0}
    with pytest.raises(v.CannotVerifyError, match="layers"):
        tiny.verdict(receipt)


RULES: dict[str, dict[str, Any]] = {
    "uncertain": {"stop_below": 0.2},
    "unlikely": {"stop_mean_below": -2.75, "stop_window": 5},
}


@pytest.mark.parametrize("finish", RULES)
def test_where_the_model_was_unsure(tiny: Tiny, finish: str) -> None:
    """Such an answer is true; one that goes on where it should end, or ends where it should go on, is not."""
    whole = tiny.receipt(max_tokens=30)
    cut = tiny.receipt(max_tokens=30, **RULES[finish])
    assert (cut["output"]["finish"], tiny.verdict(cut)) == (finish, (True, "", None))
    count = len(cut["output"]["tokens"])
    assert 1 < count < 30
    assert cut["output"]["tokens"] == whole["output"]["tokens"][:count]
    beyond = copy.deepcopy(whole)
    rule = {name: value for name, value in cut["request"]["sampling"].items() if name in RULES[finish]}
    assert len(rule) == len(RULES[finish])
    beyond["request"]["sampling"] |= rule
    assert tiny.verdict(tiny.chained(beyond)) == (False, "finish", count)
    early = copy.deepcopy(cut)
    for name in rule:
        del early["request"]["sampling"][name]
    assert tiny.verdict(tiny.chained(early)) == (False, "finish", count)


@pytest.mark.parametrize("sampling", [{"stop_window": 5}, {"stop_window": 16, "stop_mean_below": "-1"}])
def test_a_window_that_no_receipt_has_is_refused_by_both(tiny: Tiny, sampling: dict[str, Any]) -> None:
    receipt = tiny.receipt()
    receipt["request"]["sampling"] |= sampling
    with pytest.raises(v.CannotVerifyError, match="stop_window"):
        tiny.verdict(receipt)
    with pytest.raises(ReceiptError, match=r"stop_window|canonical"):
        document.Receipt.parse(v.canonical(receipt))


def test_other_formats(tmp_path: Path) -> None:
    model = Tiny(write_tiny(tmp_path / "tiny.gguf", kinds=("Q4_K", "Q6_K", "Q5_K", "Q8_0"), tied=True, layers=1))
    assert model.verdict(model.receipt(max_tokens=4)).true


def test_a_chain_made_again_is_the_same(tiny: Tiny, receipt: Receipt) -> None:
    """So that what is found below is the forgery and not the forger's clumsiness."""
    assert tiny.chained(copy.deepcopy(receipt)) == receipt


@pytest.mark.parametrize("at", [0, 7, 15])
def test_another_token(tiny: Tiny, receipt: Receipt, at: int) -> None:
    receipt["output"]["tokens"][at] ^= 1
    assert tiny.verdict(tiny.chained(receipt)) == (False, "token", at)


def test_another_link(tiny: Tiny, receipt: Receipt) -> None:
    links = bytearray(base64.urlsafe_b64decode(receipt["chain"] + "=="))
    links[32 * 5] ^= 1
    receipt["chain"] = base64.urlsafe_b64encode(links).rstrip(b"=").decode()
    assert tiny.verdict(receipt) == (False, "hidden state", 5)


@pytest.mark.parametrize("change", [{"temperature": 1.3}, {"seed": 8}, {"top_k": 2}])
def test_another_sampling(tiny: Tiny, receipt: Receipt, change: dict[str, Any]) -> None:
    """The tokens of one sampling under the name of another: found where the two part."""
    other = tiny.receipt(**change)
    at = first_difference(receipt["output"]["tokens"], other["output"]["tokens"])
    receipt["request"] = other["request"]
    assert tiny.verdict(tiny.chained(receipt)) == (False, "token", at)


def test_another_prompt(tiny: Tiny, receipt: Receipt) -> None:
    states = receipt["chain"]
    receipt["request"]["prompt"][3] ^= 1
    assert tiny.verdict(tiny.chained(receipt) | {"chain": states}) == (False, "hidden state", 0)


def test_another_model(tiny: Tiny, receipt: Receipt, tmp_path: Path) -> None:
    """A bit of one weight: told by the root, and if that is forged, by the first state."""
    data = bytearray(tiny.path.read_bytes())
    data[data.index(bytes(tiny.model.file.tensors["blk.0.attn_v.weight"].data)) + 40] ^= 1
    (tmp_path / "other.gguf").write_bytes(data)
    other = Tiny(tmp_path / "other.gguf")
    with pytest.raises(v.CannotVerifyError, match="weights"):
        other.verdict(receipt)
    forged = other.receipt() | {"model": receipt["model"]}
    assert tiny.verdict(other.chained(forged)) == (False, "hidden state", 0)


def test_a_shorter_answer(tiny: Tiny, receipt: Receipt) -> None:
    del receipt["output"]["tokens"][10:]
    assert tiny.verdict(tiny.chained(receipt)) == (False, "finish", 10)
    receipt["model"]["ends"] = sorted({*receipt["model"]["ends"], receipt["output"]["tokens"][-1]})
    receipt["output"]["finish"] = "stop"
    with pytest.raises(v.CannotVerifyError, match="ends"):
        tiny.verdict(tiny.chained(receipt))


def test_a_longer_answer(tiny: Tiny, receipt: Receipt) -> None:
    receipt["request"]["sampling"]["max_tokens"] = 9
    assert tiny.verdict(tiny.chained(receipt)) == (False, "finish", 9)


def test_a_token_of_no_vocabulary(tiny: Tiny, receipt: Receipt) -> None:
    for part, name in ((receipt["output"]["tokens"], "token"), (receipt["request"]["prompt"], "prompt")):
        part[5] = 301
        assert tiny.verdict(receipt) == (False, name, 5)


def test_another_log_probability_or_text(tiny: Tiny, receipt: Receipt) -> None:
    receipt["output"]["logprobs"][4] -= 1
    assert tiny.verdict(receipt) == (False, "logprobs", 4)
    receipt["output"]["logprobs"] = None
    assert tiny.verdict(receipt).true
    receipt["output"]["text"] += "."
    assert tiny.verdict(receipt) == (False, "text", None)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("hash", "blake3"),
        ("version", 2),
        ("numerics.profile", "fp32"),
        ("request.sampling.repetition_penalty", "1.1"),
        ("request.sampling.constraint", {"kind": "regex", "text": "a"}),
        ("request.sampling.logit_bias", {"tokens": [1], "values": ["2"]}),
        ("request.sampling.temperature", "-1"),
        ("request.sampling.temperature", "0.70"),
        ("request.sampling.top_p", "0"),
        ("request.sampling.seed", str(2**64)),
        ("request.prompt", []),
        ("request.prompt", [2**31]),
        ("output.tokens", [True]),
        ("output.logprobs", [1]),
        ("chain", "AAAAB"),
        ("chain", "AB"),
        ("unknown", 1),
    ],
)
def test_what_is_not_implemented_is_named(receipt: Receipt, where: str, value: Any) -> None:
    *path, name = where.split(".")
    part = receipt
    for step in path:
        part = part[step]
    part[name] = value
    with pytest.raises(v.CannotVerifyError, match=name):
        v.parse(v.canonical(receipt))


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{}", b"1e999", b"\xff", b'{"a":1,"a":1}', b'{"a": 1}', b"[" * 10**5, b"[" * 10**6, b'"' * 10**6),
        *(b"0" * 10**6, b"9" * 10**7, b"[" + b"0," * 10**6 + b"0]"),
    ],
    ids=range(12),
)
def test_a_hostile_receipt_cannot_be_verified(line: bytes) -> None:
    with pytest.raises(v.CannotVerifyError):
        v.parse(line)


def test_no_edit_of_a_byte_verifies(tiny: Tiny) -> None:
    true = v.canonical(tiny.receipt(max_tokens=4, stop=("zz",)))
    random = np.random.default_rng(5)
    for at, byte in zip(random.integers(len(true), size=300), random.integers(1, 256, 300), strict=True):
        line = true[:at] + bytes([true[at] ^ int(byte)]) + true[at + 1 :]
        try:
            assert not v.verify(v.parse(line), tiny.model, tiny.tokenizer).true, line
        except v.CannotVerifyError:
            continue


def test_no_cut_of_a_model_file_is_believed(tiny: Tiny, tmp_path: Path) -> None:
    data = tiny.path.read_bytes()
    for size in (0, 3, 20, 1000, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.gguf").write_bytes(data[:size])
        with pytest.raises(v.CannotVerifyError):
            v.Llama(v.Gguf(tmp_path / "cut.gguf"))


def test_other_models_are_refused_by_name(tmp_path: Path) -> None:
    for given, named in (({"architecture": "qwen2", "kinds": ("F16",)}, "qwen2"), ({"kinds": ("Q2_K",)}, "type 10")):
        path = write_tiny(tmp_path / "other.gguf", **given)
        with pytest.raises(v.CannotVerifyError, match=named):
            v.Llama(v.Gguf(path))


@pytest.mark.slow
def test_the_default_model_from_the_command_line(tmp_path: Path) -> None:
    """32 tokens of a real model and the example of docs/spec/receipts.md, in a process without the package."""
    path = real_model("smollm2-135m")
    model = intact.load(path)
    chat = model.tokenizer.encode_chat([{"role": "user", "content": PROMPTS[0]}])
    answer = model.generate(chat, receipt=True, max_tokens=32, temperature=0.7, top_p=0.9, seed=1)[0][0]
    assert answer.receipt is not None
    true = answer.receipt.encode()
    assert len(answer.tokens) == 32
    false = v.parse(true)
    false["model"]["weights"] = "0" * 64
    receipts = tmp_path / "answers.receipts"
    page = (PROGRAM.parent.parent.parent / "docs" / "spec" / "receipts.md").read_bytes()
    example = page.partition(b"```json\n")[2].partition(b"\n")[0]
    receipts.write_bytes(b"".join(line + b"\n" for line in (true, v.canonical(false), example)))
    command = [sys.executable, "-I", str(PROGRAM), str(receipts), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "receipt 1: true",
        "receipt 2: unverifiable: the receipt is of a model with other weights",
        "receipt 3: true",
    ]
    assert done.returncode == 3


def test_both_verifiers_say_the_same(tiny: Tiny, receipt: Receipt) -> None:
    """Of a receipt with a few changes, chained again or not."""
    for where, value in (("tokens", 3), ("finish", "stop"), ("text", "?"), ("logprobs", -5), (None, None)):
        for chain in (False, True):
            changed = copy.deepcopy(receipt)
            if isinstance(value, int):
                changed["output"][where][6] = value
            elif where is not None:
                changed["output"][where] = value
            if chain:
                tiny.chained(changed)
            mine = tiny.verdict(changed)
            (theirs,) = verify(tiny.package, [document.Receipt.parse(v.canonical(changed))])
            assert (mine.true, mine.what or None) == (theirs.outcome == "true", theirs.what)
            assert mine.position in (None, theirs.position)


@pytest.mark.parametrize("member", ["weights", "tensors", "tokenizer", "template", "ends"])
def test_both_verifiers_look_at_every_digest(tiny: Tiny, receipt: Receipt, member: str) -> None:
    others = {"tensors": receipt["model"]["tensors"] + 1, "ends": [1]}
    receipt["model"][member] = others.get(member, "0" * 64)
    tiny.chained(receipt)
    with pytest.raises(v.CannotVerifyError, match=member):
        tiny.verdict(receipt)
    (theirs,) = verify(tiny.package, [document.Receipt.parse(v.canonical(receipt))])
    assert theirs.outcome == "unverifiable"


FORGED = Path(__file__).parents[2] / "conformance" / "receipts"
LEFT_OUT = (
    "source-",
    "signature-",
    "other-profile",
    "other-bits",
    "bias-",
    "penalties",
    "true-penalties",
    "true-blake3",
)
"""What the second verifier says that it does not look at."""


def test_both_verifiers_say_the_same_of_forged_receipts() -> None:
    kept = json.loads((FORGED / "verdicts.json").read_text("utf-8"))
    file = v.Gguf(FORGED / kept["model"])
    model, tokenizer = v.Llama(file), v.Tokenizer(file.metadata)
    compared = 0
    for one in kept["files"]:
        if one["file"].startswith(("run-", *LEFT_OUT)):
            continue
        line = (FORGED / one["file"]).read_bytes().removesuffix(b"\n")
        try:
            found = v.verify(v.parse(line), model, tokenizer)
            outcome, what = ("true", None) if found.true else ("false", found.what)
        except v.CannotVerifyError:
            outcome, what = "unverifiable", one["what"]
        assert (outcome, what) == (one["outcome"], one["what"]), one
        compared += 1
    assert compared > 120
