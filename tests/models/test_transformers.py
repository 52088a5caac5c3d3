"""Architectures equal Transformers in the fp32 profile, and keep their bits (benchmarks/transformers_goldens.py)."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError
from support.folders import tensor_values, write_folder
from support.variants import VARIANTS
from support.variants.form import TOKENS
from support.variants.gemma import newer_gemma

GOLDENS = json.loads((Path(__file__).parent / "goldens.json").read_text())
GEMMA_4_ROPE = VARIANTS["gemma4"].config["rope_parameters"]
EXECUTORS = ("reference", "native")
PROFILES = {"int8": {}, "4 bits": {"bits": 4}, "fp32": {"profile": "fp32"}}


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module", params=VARIANTS)
def named(request, tmp_path_factory):
    name = request.param
    return name, write_folder(tmp_path_factory.mktemp("folder") / name, VARIANTS[name], name)


def log_softmax(x):
    x = x.astype(np.float64) - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def test_the_fp32_profile_equals_transformers(named):
    name, folder = named
    theirs = GOLDENS["models"][name]["transformers"]
    ours = intact.load(folder, profile="fp32").logits(TOKENS)
    part = ours[np.ix_(GOLDENS["positions"], range(0, ours.shape[1], GOLDENS["every"]))]
    assert np.abs(part - np.array(theirs["logits"])).max() <= 3e-6 * theirs["range"] + 1e-5
    assert ours.argmax(axis=1).tolist() == theirs["best"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.native
def test_the_bits_are_those_of_numerics_version_1(named, profile):
    name, folder = named
    raw, scale = intact.load(folder, **PROFILES[profile]).logits(TOKENS, raw=True)
    assert scale == 65536
    assert digest(raw) == GOLDENS["models"][name]["digests"][profile]


@pytest.mark.slow  # test_contract.py compares them for all kinds of operations
@pytest.mark.native
def test_the_reference_equals_native(named):
    _, folder = named
    reference, native = (intact.load(folder, executor=name).logits(TOKENS, raw=True)[0] for name in EXECUTORS)
    assert np.array_equal(reference, native)


def test_integers_stay_near_floats(named):
    _, folder = named
    exact, eight, four = (log_softmax(intact.load(folder, **options).logits(TOKENS)) for options in (
        PROFILES["fp32"], PROFILES["int8"], PROFILES["4 bits"]
    ))  # fmt: skip
    divergence = [(np.exp(exact) * (exact - other)).sum(axis=1).mean() for other in (eight, four)]
    assert divergence[0] < 0.01  # random weights are harder than trained ones; measured 0.0014 to 0.0072
    assert divergence[0] < divergence[1] < 1.0


def test_both_spellings_of_gemmas_configuration_are_one_model(tmp_path):
    folder = write_folder(tmp_path, newer_gemma(), "gemma3")
    raw, _ = intact.load(folder).logits(TOKENS, raw=True)
    assert digest(raw) == GOLDENS["models"]["gemma3"]["digests"]["int8"]


@pytest.mark.parametrize("name", ["gemma4", "gemma4-moe"])
def test_gemma_4_is_the_same_inside_a_model_of_pictures_and_sound(tmp_path, name):
    text = dict(VARIANTS[name].config)
    whole = {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "text_config": text}
    variant = VARIANTS[name]._replace(config=whole, prefix="model.language_model.")
    others = ("audio_tower.layers.0.norm1", "vision_tower.x", "embed_audio.y", "embed_vision.z")
    towers = {f"{part}.weight": np.ones(4, np.float32) for part in others}
    folder = write_folder(tmp_path, variant, name, towers)
    raw, _ = intact.load(folder).logits(TOKENS, raw=True)
    assert digest(raw) == GOLDENS["models"][name]["digests"]["int8"]


def test_both_spellings_of_exaones_configuration_are_one_model(tmp_path):
    folder = write_folder(tmp_path, VARIANTS["exaone"], "exaone")
    config = dict(VARIANTS["exaone"].config)
    for new, old in (("num_hidden_layers", "num_layers"), ("rms_norm_eps", "layer_norm_epsilon")):
        config[old] = config.pop(new)
    (folder / "config.json").write_text(json.dumps(config | {"activation_function": "silu"}))
    raw, _ = intact.load(folder).logits(TOKENS, raw=True)
    assert digest(raw) == GOLDENS["models"]["exaone"]["digests"]["int8"]


@cache
def _plain(name):
    return tensor_values(VARIANTS[name].config, name)


# Whatever a golden is to notice must change the answer on this text.
@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("llama", "rope_scaling", None),
        ("llama", "rope_theta", 5000.0),
        ("llama-biases", "rope_scaling", {"type": "linear", "factor": 2.0}),
        ("qwen3", "rms_norm_eps", 1e-2),
        ("phi3", "sliding_window", 11),
        ("phi4-mini", "original_max_position_embeddings", 64),
        ("phi4-mini", "max_position_embeddings", 256),
        ("olmo3", "layer_types", ["full_attention"] * 3),
        ("olmo3", "rope_scaling", None),
        ("granite", "embedding_multiplier", 0.75),
        ("granite", "attention_multiplier", 0.25),
        ("granite", "residual_multiplier", 0.25),
        ("granite", "logits_scaling", 5.0),
        ("granite4-h", "embedding_multiplier", 0.75),
        ("granite4-h", "attention_multiplier", 0.25),
        ("granite4-h", "residual_multiplier", 0.25),
        ("granite4-h", "logits_scaling", 5.0),
        ("granite4-h", "position_embedding_type", "rope"),
        ("granite4-h-dense", "position_embedding_type", "nope"),
        ("granite4", "position_embedding_type", None),
        ("bamba", "rope_theta", 5000.0),
        ("falcon-h1", "rope_theta", 1e11),
        ("falcon-h1", "embedding_multiplier", 0.75),
        ("falcon-h1", "lm_head_multiplier", 1.5),
        ("falcon-h1", "attention_in_multiplier", 1.0),
        ("falcon-h1", "attention_out_multiplier", 1.0),
        ("falcon-h1", "key_multiplier", 0.5),
        ("falcon-h1", "ssm_in_multiplier", 1.0),
        ("falcon-h1", "ssm_out_multiplier", 1.0),
        *(("falcon-h1", "ssm_multipliers", [*[0.7] * i, 0.6, *[0.7] * (4 - i)]) for i in range(5)),
        ("falcon-h1", "mlp_multipliers", [0.88, 0.5]),
        ("falcon-h1", "mlp_multipliers", [0.9, 0.7]),
        ("qwen3.5", "rms_norm_eps", 1e-3),
        ("qwen3.5", "rope_parameters", {"rope_type": "default", "rope_theta": 1e5}),
        ("qwen3.5-tied", "partial_rotary_factor", 0.25),
        ("qwen3.5-tied", "rms_norm_eps", 1e-4),
        ("qwen3.5-moe", "num_experts_per_tok", 3),
        ("qwen3-next", "norm_topk_prob", False),
        ("qwen3-next", "rope_theta", 5000.0),
        ("mistral", "sliding_window", 13),
        ("ministral", "layer_types", ["sliding_attention"] * 3),
        ("smollm3", "no_rope_layers", [1, 1, 0, 0]),
        ("smollm3", "no_rope_layers", [1, 1, 1, 1]),
        ("exaone", "rope_scaling", None),
        ("exaone4", "sliding_window", 9),
        ("exaone4", "layer_types", ["full_attention"] * 4),
        ("glm4", "partial_rotary_factor", 0.25),
        ("glm", "partial_rotary_factor", 1.0),
        ("glm4moe", "partial_rotary_factor", 0.25),
        ("glm4moe", "routed_scaling_factor", 1.0),
        ("glm4moe-air", "topk_group", 3),
        ("solar-open", "num_experts_per_tok", 3),
        ("dots1", "norm_topk_prob", False),
        ("minimax-m2", "rotary_dim", 24),
        ("bailingmoe2", "topk_group", 3),
        ("bailingmoe2", "partial_rotary_factor", 1.0),
        ("hunyuan-moe", "moe_topk", 3),
        ("exaone-moe", "sliding_window", 9),
        ("exaone-moe", "layer_types", ["full_attention"] * 3),
        ("gptneox", "rotary_pct", 0.25),
        ("gptneox", "rotary_emb_base", 10000),
        ("ernie4.5", "rope_theta", 1e5),
        ("minicpm", "scale_emb", 11),
        ("minicpm", "scale_depth", 1.5),
        ("minicpm", "dim_model_base", 17),
        ("minicpm3", "scale_emb", 11),
        ("minicpm3", "scale_depth", 1.5),
        ("minicpm3", "dim_model_base", 17),
        ("minicpm3", "rope_scaling", None),
        ("cwm", "layer_types", ["full_attention"] * 3),
        ("helium", "rope_theta", 5000.0),
        ("vaultgemma", "attn_logit_softcapping", 3.0),
        ("gemma3", "sliding_window", 9),
        ("gemma3", "layer_types", ["sliding_attention"] * 3),
        ("gemma3", "rope_local_base_freq", 10000.0),
        ("gemma3", "rope_theta", 1e5),
        ("gemma3", "rope_scaling", None),
        ("gemma3", "query_pre_attn_scalar", 32),
        ("gemma4", "sliding_window", 9),
        ("gemma4", "final_logit_softcapping", 20.0),
        ("gemma4", "rope_parameters", GEMMA_4_ROPE | {"full_attention": {"rope_type": "default", "rope_theta": 1e6}}),
        ("gemma4", "rope_parameters", GEMMA_4_ROPE | {"sliding_attention": {"rope_theta": 1e4}}),
        ("gemma4-moe", "top_k_experts", 3),
        ("ernie4.5-moe", "moe_k", 1),
        ("ernie4.5-moe", "rope_theta", 1e5),
    ],
)
def test_every_hyper_parameter_matters(tmp_path, name, key, value):
    variant = VARIANTS[name]
    folder = write_folder(tmp_path, variant._replace(config=dict(variant.config) | {key: value}), name)
    raw, _ = intact.load(folder).logits(TOKENS, raw=True)
    assert digest(raw) != GOLDENS["models"][name]["digests"]["int8"]


@pytest.mark.parametrize("name", ["llama-biases", "qwen2"])
def test_a_bias_that_the_architecture_has_must_be_there(tmp_path, name):
    missing = next(key for key in _plain(name) if key.endswith("k_proj.bias"))
    folder = write_folder(tmp_path, VARIANTS[name], name, {missing: None})
    with pytest.raises(ModelError, match=missing.replace(".", r"\.") + " is missing"):
        intact.load(folder)


def test_a_bias_that_the_configuration_denies_is_refused(tmp_path):
    name = "model.layers.1.self_attn.k_proj.bias"
    folder = write_folder(tmp_path, VARIANTS["llama"], "llama", {name: np.ones(32, np.float32)})
    with pytest.raises(ModelError, match=name):
        intact.load(folder)


def test_a_tied_head_is_the_embedding_even_where_a_head_is_stored(tmp_path):
    head = np.zeros_like(_plain("gemma3")["model.embed_tokens.weight"])
    folder = write_folder(tmp_path, VARIANTS["gemma3"], "gemma3", {"lm_head.weight": head})
    raw, _ = intact.load(folder).logits(TOKENS, raw=True)
    assert digest(raw) == GOLDENS["models"]["gemma3"]["digests"]["int8"]


def test_an_untied_head_must_be_there(tmp_path):
    folder = write_folder(tmp_path, VARIANTS["llama"], "llama", {"lm_head.weight": None})
    with pytest.raises(ModelError, match=r"lm_head\.weight is missing"):
        intact.load(folder)
