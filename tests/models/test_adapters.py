"""Adapters read from PEFT's folders and GGUF files: PEFT's logits, orders of rows, and what is refused."""

import json
import random
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError, IntactError, ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.safetensors import read_safetensors
from intact.library import GenerateOptions
from intact.models import build_program, find_architecture
from intact.models.adapters import read_adapter
from intact.models.ops import Logits, Norm, Steer
from intact.receipts.verify import verify_together
from support.conversion import CONVERTED, convert
from support.folders import tensor_values, write_folder
from support.folders import write_safetensors as write_tensors
from support.gguf_writer import write_gguf
from support.pytorch_writer import save_as_pytorch
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.form import TOKENS

WEIGHTS = "adapter_model.safetensors"
HERE = Path(__file__).parent / "adapters"
GOLDENS: dict[str, Any] = json.loads((HERE / "goldens.json").read_text())
NAMES = [name for name, golden in GOLDENS.items() if isinstance(golden, dict)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return {name: write_folder(tmp_path_factory.mktemp(name), VARIANTS[name], name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_logits_are_those_of_peft(name: str, bases: Mapping[str, Path]) -> None:
    golden = GOLDENS[name]
    with intact.load(bases[name], profile="fp32", adapters={"one": HERE / name}, adapter="one") as model:
        logits = model.logits(TOKENS)
    part = logits[np.ix_(GOLDENS["positions"], range(0, logits.shape[1], GOLDENS["every"]))]
    assert golden["far"] > 0.3 * golden["range"]  # the adapter tells
    assert np.abs(part - np.array(golden["logits"])).max() < 1e-4 * golden["range"]


@pytest.mark.parametrize("name", NAMES)
def test_int8_is_near_and_the_model_without_it_is_unchanged(name: str, bases: Mapping[str, Path]) -> None:
    with intact.load(bases[name]) as model:
        plain = model.logits(TOKENS, raw=True)[0].copy()
        text = model.generate(TOKENS[:8], max_tokens=6)[0][0].tokens
    with intact.load(bases[name], adapters={"one": HERE / name}) as model:
        assert np.array_equal(model.logits(TOKENS, raw=True)[0], plain)
        both = [model.generate(TOKENS[:8], max_tokens=6, adapter=adapter)[0][0].tokens for adapter in (None, "", "one")]
    assert both[0] == both[1] == text
    with intact.load(bases[name], adapters={"one": HERE / name}, adapter="one") as model:
        chosen = [
            model.generate(TOKENS[:8], max_tokens=6, adapter=adapter)[0][0].tokens for adapter in (None, "", "one")
        ]
    assert chosen[0] == chosen[2] == both[2]
    assert chosen[1] == text


NAMES_OF_PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
}  # fmt: skip


def as_gguf(path: Path, folder: Path, permuted: int = 0) -> Path:
    """A PEFT adapter as llama.cpp's converter writes it; queries and keys in heads of `permuted` neighbouring pairs."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = {}
    for key, tensor in read_safetensors(folder / WEIGHTS).items():
        module, half = key.removeprefix("base_model.model.model.layers.").removesuffix(".weight").rsplit(".", 1)
        layer, _, part = module.partition(".")
        values = tensor.data.view(np.float32).reshape(tensor.shape)
        if permuted and half == "lora_B" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            values = values.reshape(-1, 2, permuted // 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        name = f"blk.{layer}.{NAMES_OF_PARTS[part]}.weight.lora_{half[-1].lower()}"
        tensors[name] = ("F32", values.shape, np.ascontiguousarray(values).tobytes())
    metadata = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"}
    return write_gguf(path, metadata | {"adapter.lora.alpha": float(config["lora_alpha"])}, tensors)


@pytest.mark.parametrize(("name", "width"), [("llama", 16), ("phi3", 0), ("gemma3", 0)])
def test_files_and_folders_are_one_adapter_of_files_and_folders(
    name: str, width: int, bases: Mapping[str, Path], tmp_path: Path
) -> None:
    """The same logits each time: of all forms of an adapter on both forms of a model."""
    pytest.importorskip("gguf", reason="needs the gguf package, which has llama.cpp's names of tensors")
    variant = VARIANTS[name]._replace(kind="F32", files=1)
    if name == "llama":  # without divisors, which GGUF stores as float32
        variant = variant._replace(config={k: v for k, v in variant.config.items() if k != "rope_scaling"})
    models = [write_folder(tmp_path / "folder", variant, name)]
    if name != "gemma3":
        gguf_name, together = CONVERTED[name]
        values = tensor_values(variant.config, name)
        models.append(convert(tmp_path / "model.gguf", dict(variant.config), values, gguf_name, together))
    width = variant.config.get("head_dim", variant.config["hidden_size"] // variant.config["num_attention_heads"])
    file = as_gguf(tmp_path / "adapter.gguf", HERE / name, width if name == "llama" else 0)
    older = shutil.copytree(HERE / name, tmp_path / "older")
    save_as_pytorch(older / WEIGHTS)
    found = []
    for model in models:
        for adapter in (HERE / name, file, older):
            with intact.load(model, adapters={"one": adapter}, adapter="one") as loaded:
                found.append(loaded.logits(TOKENS, raw=True)[0].copy())
    assert all(np.array_equal(one, found[0]) for one in found)


def control_vectors(path: Path, width: int, layers: Mapping[int, float]) -> Path:
    """Write vectors as llama.cpp's cvector-generator does, each of one number."""
    tensors = {
        f"direction.{layer}": ("F32", (width,), np.full(width, value, "<f4").tobytes())
        for layer, value in layers.items()
    }
    metadata = {"general.architecture": "controlvector", "controlvector.model_hint": "llama"}
    return write_gguf(path, metadata | {"controlvector.layer_count": len(layers)}, tensors)


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_vector_is_added_behind_its_layer(name: str, bases: Mapping[str, Path], tmp_path: Path) -> None:
    """Behind the last layer it moves what enters the last norm; a factor of 0 gives the bits of none."""
    with intact.load(bases[name], profile="fp32") as model:
        plain, layers, width = model.logits(TOKENS).copy(), model.program.layers, model.program.buffers["x"].width
    file = control_vectors(tmp_path / "v.gguf", width, {0: 1.0, layers - 1: -0.5})
    found = {}
    for factor in ("", ":0", ":-2.5"):
        with intact.load(bases[name], profile="fp32", adapters={"v": f"{file}{factor}"}, adapter="v") as model:
            places = [i for i, op in enumerate(model.program.ops) if isinstance(op, Steer)]
            assert [type(model.program.ops[i + 1]) for i in places] == [Norm, Norm]
            assert isinstance(model.program.ops[-1], Logits)
            assert places[-1] == len(model.program.ops) - 3
            found[factor] = model.logits(TOKENS).copy()
            assert model.own.changed_by == Path(f"{file}{factor}")  # what a manifest's command repeats
    assert np.array_equal(found[":0"], plain)
    with intact.load(bases[name], adapters={"v": file}) as model:
        receipts = [model.generate("a b", adapter=a, max_tokens=4, receipt=True)[0][0].receipt for a in ("", "v")]
        assert [one.outcome for one in verify_together(model, receipts)] == ["true", "true"]
        assert receipts[0].header.model.weights != receipts[1].header.model.weights
    assert not np.array_equal(found[""], plain)
    assert not np.array_equal(found[""], found[":-2.5"])


@pytest.mark.parametrize(
    ("layers", "width", "message"),
    [({99: 1.0}, 64, "expected direction.N for a layer N from 0 to"), ({0: 1.0}, 32, "it belongs to another model"),
     ({}, 64, "has no vectors"), ({0: float("nan")}, 64, "direction.0")],
)  # fmt: skip
def test_vectors_of_another_model_are_refused(
    layers: Mapping[int, float], width: int, message: str, bases: Mapping[str, Path], tmp_path: Path
) -> None:
    file = control_vectors(tmp_path / "v.gguf", width, layers)
    with pytest.raises(ModelError, match=message):
        intact.load(bases["llama"], adapters={"v": file})
    with pytest.raises(ModelError, match="has the factor 1e\\+09; expected a number of at most"):
        intact.load(bases["llama"], adapters={"v": f"{file}:1e9"})


def changed(folder: Path, name: str, **config: Any) -> Path:
    """A copy of an adapter's folder with other members of its configuration."""
    folder.mkdir()
    own = json.loads((HERE / name / "adapter_config.json").read_text()) | config
    (folder / "adapter_config.json").write_text(json.dumps(own))
    (folder / WEIGHTS).write_bytes((HERE / name / WEIGHTS).read_bytes())
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; expected one of"),
        ({"use_dora": True}, "use_dora is True; only low-rank changes"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"lora_alpha": "many"}, "lora_alpha"),
        ({"lora_alpha": 0.0}, "lora_alpha"),
        ({"alpha_pattern": {"v_proj": "x"}}, "alpha_pattern is"),
    ],
)
def test_what_is_more_than_low_rank_is_refused(
    config: dict[str, Any], message: str, bases: Mapping[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(IntactError, match=message):
        intact.load(bases["llama"], adapters={"one": changed(tmp_path / "a", "llama", **config)})


def pattern_key(keys: Iterable[str], name: str) -> str:
    """As PEFT 0.21.2 has it (`peft.utils.other.get_pattern_key`)."""
    for key in keys:
        match = re.match(rf"(.*\.)?({key})$", name)
        if not match:
            continue
        return key
    return name


FORMS = (
    "{part}", "{block}.{part}", "layers.{n}.{block}.{part}", "model.layers.{n}.{block}.{part}", ".*{part}", ".*",
    r"layers\.\d+\..*{part}", r"(q|v)_proj", r"[a-z]_proj", r"layers\.[{n}-9]\..*", r"model\.layers\.{n}\..+",
    "layers.{n}", "proj", "{part}$", "^{part}", "^model.*{part}", "(?i:{part})", "{block}", r".*\.{n}\..*",
)  # fmt: skip
"""Patterns, some of which match nothing."""


def test_alpha_pattern_is_read_as_peft_reads_it(bases: Mapping[str, Path], tmp_path: Path) -> None:
    rng = random.Random(0)
    config = json.loads((HERE / "llama" / "adapter_config.json").read_text())
    read: set[float] = set()
    with open_checkpoint(bases["llama"]) as checkpoint:
        program = build_program(checkpoint)
        plain = read_adapter(HERE / "llama", checkpoint, program).changes
        for trial in range(8):
            parts, blocks = ("q_proj", "v_proj", "gate_proj"), ("self_attn", "mlp")
            chosen = [
                rng.choice(FORMS).format(part=rng.choice(parts), block=rng.choice(blocks), n=rng.randrange(2))
                for _ in range(4)
            ]
            own = {key: float(3**place) for place, key in enumerate(chosen, 1)}
            folder = changed(tmp_path / str(trial), "llama", alpha_pattern=own, rank_pattern={"(q|v)_proj": 3})
            changes = read_adapter(folder, checkpoint, program).changes
            architecture = find_architecture(checkpoint)
            for weight, (_, up) in changes.items():
                module = architecture.hf_name(weight).removesuffix(".weight")
                wanted = own.get(pattern_key(own, module), config["lora_alpha"])
                read.add(wanted)
                assert np.array_equal(up, plain[weight][1] * np.float32(wanted / config["lora_alpha"])), (own, module)
    assert len(read) == 5


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(\w+\.?)*!", "matching its keys took more than 0.5 s"),
        ("((.*)*)*x", "matching its keys took more than 0.5 s"),
        ("a{4294967296}", "keys must be regular expressions; OverflowError"),
        ("(", "missing \\), unterminated subpattern"),
    ],
)
def test_a_hostile_pattern_is_an_error_in_time(
    pattern: str, message: str, bases: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intact.models.adapters._MATCHING", 0.5)
    folder = changed(tmp_path / "a", "llama", alpha_pattern={".*" + pattern: 2.0})
    with pytest.raises(ModelError, match=message):
        intact.load(bases["llama"], adapters={"one": folder})


def test_an_adapter_of_another_model_is_refused(bases: Mapping[str, Path]) -> None:
    with pytest.raises(ModelError, match="the adapter belongs to another model"):
        intact.load(bases["llama"], adapters={"one": HERE / "gemma3"})
    with pytest.raises(ModelError, match=r"gate_up_proj is not a matrix of .* that an adapter can change"):
        intact.load(bases["llama"], adapters={"one": HERE / "phi3"})


def edited(folder: Path, edit: Callable[[dict[str, tuple[str, tuple[int, ...], bytes]]], None]) -> Path:
    """A copy of Llama's adapter with other tensors."""
    folder = changed(folder, "llama")
    path = folder / "adapter_model.safetensors"
    tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in read_safetensors(path).items()}
    edit(tensors)
    write_tensors(path, tensors)
    return folder


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop(FIRST + "B.weight"), "q_proj has only lora_A"),
        (
            lambda t: t.update({"base_model.model.lm_head.weight": ("F32", (1, 1), bytes(4))}),
            "not part of a LoRA adapter",
        ),
        (lambda t: t.update({FIRST + "A.weight": ("F32", (2, 32), bytes(256))}), "expected the same rank"),
        (lambda t: t.update({FIRST + "A.weight": ("F32", (8, 64), b"\xff" * 2048)}), "holds NaN or infinity"),
        (lambda t: t.update({FIRST + "A.weight": ("F32", (512,), bytes(2048))}), "expected a matrix"),
        (lambda t: t.clear(), "changes no matrix"),
    ],
)
def test_damaged_adapters_are_refused(edit: Any, message: str, bases: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        intact.load(bases["llama"], adapters={"one": edited(tmp_path / "a", edit)})


def test_what_is_no_adapter_says_what_was_expected(bases: Mapping[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "missing", "expected a LoRA adapter"),
        (tmp_path / "empty", "has no adapter_config.json"),
        (write_tiny(tmp_path / "model.gguf"), "expected 'adapter' and 'lora'"),
    ):
        with pytest.raises(FormatError, match=message):
            intact.load(bases["llama"], adapters={"one": path})
    (tmp_path / "empty" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 1}))
    with pytest.raises(FormatError, match=r"has no weights; expected adapter_model.safetensors or adapter_model.bin"):
        intact.load(bases["llama"], adapters={"one": tmp_path / "empty"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adapters": "a"}, "adapters must be a mapping"),
        ({"adapters": {"a b": "a"}}, "a name consists of letters"),
        ({"adapters": {"": "a"}}, "a name consists of letters"),
        ({"adapter": "a"}, "adapter must name one of adapters"),
    ],
)
def test_bad_names(options: dict[str, Any], message: str, bases: Mapping[str, Path]) -> None:
    with pytest.raises(ParameterError, match=message):
        intact.load(bases["llama"], **options)


def test_requests_name_their_adapters(bases: Mapping[str, Path]) -> None:
    with intact.load(bases["llama"], adapters={"one": HERE / "llama"}) as model:
        message = "adapter must name one of the model's adapters, got 'two'; available: one"
        with pytest.raises(ParameterError, match=message):
            model.generate("a", adapter="two")
        with pytest.raises(ParameterError, match="mixes do not support adapters"):
            model.generate("a", adapter="one", mix="guidance", shadow="b")


@pytest.mark.parametrize("options", [{}, {"prefix_cache": False}, {"chunk": 3}, {"drafter": "off"}, {"threads": 3}])
def test_batches_of_adapters_and_none_have_the_bits_of_each_alone(
    options: dict[str, Any], bases: Mapping[str, Path]
) -> None:
    """One text with each adapter and none at once, after the same text alone: pages are never shared between them."""
    adapters = {"one": HERE / "llama", "two": HERE / "llama"}
    prompt, wanted = list(range(3, 60)), {}
    for name in ("", "one"):
        with intact.load(bases["llama"], adapters=adapters) as model:
            made = model.generate(prompt, n=3, max_tokens=12, temperature=1.0, adapter=name)
            wanted[name] = [one.tokens for one in made[0]]
    assert wanted[""] != wanted["one"]
    with intact.load(bases["llama"], adapters=adapters, **options) as model:
        for _ in range(2):
            jobs = []
            for name in ("one", "", "two"):
                jobs += model._jobs(
                    [prompt], GenerateOptions.of({"temperature": 1.0, "max_tokens": 12, "adapter": name}, n=3)
                )
            model.run(jobs)
            texts = [[job.completion(i, False).tokens for i in range(3)] for job in jobs]
            assert texts == [wanted["one"], wanted[""], wanted["one"]]


def test_receipts_state_the_model_with_its_adapter(bases: Mapping[str, Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 1.0, "receipt": True}
    with intact.load(bases["llama"], adapters={"one": HERE / "llama"}) as model:
        receipts = {name: model.generate("a b", adapter=name, **options)[0][0].receipt for name in ("", "one")}
        assert [one.outcome for one in verify_together(model, receipts.values())] == ["true", "true"]
    assert receipts[""].header.model.weights != receipts["one"].header.model.weights
    with intact.load(bases["llama"], adapters={"x": HERE / "llama"}, adapter="x") as model:  # whatever it is called
        assert [one.outcome for one in verify_together(model, receipts.values())] == ["true", "true"]
        assert model.generate("a b", **options)[0][0].receipt.digest == receipts["one"].digest
    with intact.load(bases["llama"]) as model:
        assert [one.outcome for one in verify_together(model, receipts.values())] == ["true", "unverifiable"]
    other = edited(tmp_path / "other", lambda t: t.update({FIRST + "A.weight": ("F32", (8, 64), bytes(2048))}))
    with intact.load(bases["llama"], adapters={"one": other}) as model:
        assert [one.outcome for one in verify_together(model, receipts.values())] == ["true", "unverifiable"]


@pytest.mark.native
def test_pages_on_disk_are_those_of_one_adapter(bases: Mapping[str, Path], tmp_path: Path) -> None:
    """Whatever an adapter is called, and wherever it stands, it finds its own pages and no others."""
    prompt, options = list(range(3, 99)), {"max_tokens": 6, "temperature": 1.0}
    adapters: dict[str, str | Path] = {"one": HERE / "llama", "half": f"{HERE / 'llama'}:0.5"}
    with intact.load(bases["llama"], adapters=adapters) as model:
        wanted = {name: model.generate(prompt, adapter=name, **options)[0][0].tokens for name in ("", *adapters)}
    assert len({tuple(tokens) for tokens in wanted.values()}) == 3
    for order in (("one", "half"), ("half", "one")):
        named = {name.upper(): adapters[name] for name in order}
        with intact.load(bases["llama"], adapters=named, prefix_cache=tmp_path / "pages") as model:
            for name in ("", *order):
                assert model.generate(prompt, adapter=name.upper(), **options)[0][0].tokens == wanted[name]
            (store,) = model.engine.stores
            store.flush()
            assert store.counts.read == (0 if order[0] == "one" else 6)
            assert store.counts.written == (9 if order[0] == "one" else 0)
