"""Write Transformers' logits of the models in tests/support/variants, for tests/models/test_transformers.py.

    python benchmarks/transformers_goldens.py            # needs torch and transformers: logits, and our digests
    python benchmarks/transformers_goldens.py --new      # the same, only for models without goldens
    python benchmarks/transformers_goldens.py --digests  # only our digests, after a change of the numerics version

The logits are float32 from PyTorch, at some positions and tokens, with float64's distance from them, and the distance
of ours in the fp32 profile from float64's relative to the logits' range; the digests are ours.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import intact  # noqa: E402
from intact.checkpoints.formats import Checkpoint  # noqa: E402
from intact.engine.encoding import EncodingJob  # noqa: E402
from intact.engine.hidden import read_hidden  # noqa: E402
from intact.models import find_architecture  # noqa: E402
from intact.numerics.dequantize import dequantize  # noqa: E402
from support.folders import stored, tensor_values, write_encoder, write_folder, write_safetensors  # noqa: E402
from support.heads import predicted, write_folder_with_layer  # noqa: E402
from support.mamba3 import logits as mamba3_logits  # noqa: E402
from support.matmul_free import logits as matmul_free_logits  # noqa: E402
from support.variants import VARIANTS  # noqa: E402
from support.variants.encoders import ENCODERS, PAIR, SEP  # noqa: E402
from support.variants.form import TOKENS  # noqa: E402
from support.vision import VISION, images, write_vision  # noqa: E402

GOLDENS = ROOT / "tests" / "models" / "goldens.json"
COMPARISONS = ROOT / "src" / "intact" / "models" / "comparisons.json"
POSITIONS = (0, 1, 6, 7, 8, 9, 23, 31, 32, 38, 39)
EVERY = 8


def digest(array: np.ndarray) -> str:
    """Return the first 16 digits of the SHA-256 of an array's little-endian bytes."""
    return hashlib.sha256(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()).hexdigest()[:16]


def digests(folder: Path) -> dict[str, str]:
    """Return our logits' digests in each profile."""
    out = {}
    for name, options in (("int8", {}), ("4 bits", {"bits": 4}), ("fp32", {"profile": "fp32"})):
        raw, _ = intact.load(folder, **options).logits(TOKENS, raw=True)
        out[name] = digest(raw)
    return out


def transformers_logits(folder: Path, own: Path) -> dict[str, Any]:
    """Return logits by Transformers, rounded, and the distance of ours for the model in `own` from float64's."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    found = {}
    pictures = "vision_config" in json.loads((folder / "config.json").read_text())
    kind = AutoModelForImageTextToText if pictures else AutoModelForCausalLM
    experts = {"experts_implementation": "eager"}  # the others are not for float64
    for dtype in (torch.float32, torch.float64):
        model = kind.from_pretrained(folder, dtype=dtype, attn_implementation="eager", **experts).eval()
        with torch.no_grad():
            found[dtype] = model(torch.tensor([TOKENS])).logits[0].double().numpy()
    return described_logits(found[torch.float32], found[torch.float64], own)


def program_logits(name: str, own: Path) -> dict[str, Any]:
    """Return float64 logits by a NumPy program, and the distance of ours for the model in `own` from them."""
    variant = VARIANTS[name]
    read = {
        key: dequantize(variant.kind, np.frombuffer(stored(array, variant.kind), np.uint8), array.shape)
        for key, array in tensor_values(variant.config, name).items()
    }
    double = PROGRAMS[name](variant.config, read, TOKENS)
    return described_logits(double, double, own)


def described_logits(single: np.ndarray, double: np.ndarray, own: Path) -> dict[str, Any]:
    """Describe another program's logits in float32 and float64, and ours of the model in `own`."""
    ours = intact.load(own, profile="fp32").logits(TOKENS)
    part = single[np.ix_(POSITIONS, range(0, single.shape[1], EVERY))]
    return {
        "range": round(float(np.abs(single).max()), 3),
        "float64": float(f"{np.abs(single - double).max():.2g}"),
        "ours": float(f"{np.abs(ours - double).max() / np.ptp(double):.2g}"),
        "best": single.argmax(axis=1).tolist(),
        "logits": [[round(float(x), 5) for x in row] for row in part],
    }


def encoder_text(name: str) -> tuple[int, ...]:
    """Return the text that an encoder reads: a pair for a reranker."""
    return PAIR if "reranker" in name else TOKENS


def encoder_heads(folder: Path, name: str, **options: Any) -> list[bytes]:
    """Return the head's inputs of our encoder at each row of its text."""
    model = intact.load(folder, **options)
    job = EncodingJob(encoder_text(name), "all")
    model.run([job])
    return job.results()


def encoder_digests(folder: Path, name: str) -> dict[str, str]:
    """Return digests of the inputs of an encoder's head in each profile."""
    options = {"int8": {}, "4 bits": {"bits": 4}, "fp32": {"profile": "fp32"}}
    return {
        profile: hashlib.sha256(b"".join(encoder_heads(folder, name, **some))).hexdigest()[:16]
        for profile, some in options.items()
    }


def transformers_encoder(folder: Path, name: str) -> dict[str, Any]:
    """Return last hidden states by Transformers in float64, and the distance of ours in the fp32 and int8 profiles."""
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    tokens, types = encoder_text(name), None
    pairs = "reranker" in name
    if pairs and ENCODERS[name].config["type_vocab_size"] > 1:
        behind = tokens.index(SEP) + 1
        types = torch.tensor([[0] * behind + [1] * (len(tokens) - behind)])
    whole = AutoModelForSequenceClassification if pairs else AutoModel
    model = whole.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    with torch.no_grad():
        found = model(torch.tensor([tokens]), token_type_ids=types, output_hidden_states=True)
    double = found.hidden_states[-1][0].numpy()
    away = {}
    for profile in ("fp32", "int8"):
        heads = encoder_heads(folder, name, profile=profile)
        ours = np.stack([read_hidden(head, profile).floats for head in heads])[:, : double.shape[1]]
        if profile == "fp32":
            ours = np.stack([np.frombuffer(head, "<f4") for head in heads]).astype(np.float64)
        away[profile] = float(f"{np.abs(ours - double).max() / np.ptp(double):.2g}")
    part = double[np.ix_([p for p in POSITIONS if p < len(tokens)], range(0, double.shape[1], EVERY))]
    return {
        "range": round(float(np.ptp(double)), 3),
        "ours": away["fp32"],
        "int8": away["int8"],
        "rows": [[round(float(x), 6) for x in row] for row in part],
        **({"logit": round(float(found.logits[0, 0]), 6)} if pairs else {}),
    }


def vision_digests(folder: Path, name: str) -> dict[str, str]:
    """Return digests of an image classifier's logits in each profile."""
    options: dict[str, dict[str, Any]] = {"int8": {}, "4 bits": {"bits": 4}, "fp32": {"profile": "fp32"}}
    return {
        profile: digest(intact.load_classifier(folder, **some).logits(images(name)))
        for profile, some in options.items()
    }


def transformers_vision(folder: Path, name: str) -> dict[str, Any]:
    """Return logits of images by Transformers in float64, and the distance of ours in the fp32 and int8 profiles."""
    import torch
    from transformers import ViTForImageClassification

    # eager attention computes its softmax in float32
    model = ViTForImageClassification.from_pretrained(folder, dtype=torch.float64, attn_implementation="sdpa").eval()
    pixels = json.loads((folder / "preprocessor_config.json").read_text())
    mean, deviation = (np.array(pixels[key])[:, None, None] for key in ("image_mean", "image_std"))
    values = (images(name) / 255 - mean) / deviation
    with torch.no_grad():
        double = model(torch.from_numpy(values)).logits.numpy()
    away = {}
    for profile in ("fp32", "int8"):
        ours = intact.load_classifier(folder, profile).logits(images(name))
        away[profile] = float(f"{np.abs(ours - double).max() / np.ptp(double):.2g}")
    return {
        "range": round(float(np.ptp(double)), 3),
        "ours": away["fp32"],
        "int8": away["int8"],
        "logits": [[round(float(x), 6) for x in row] for row in double],
    }


def transformers_head(folder: Path) -> dict[str, Any]:
    """Return logits of a prediction head by Transformers in float64, and the distance of ours in the fp32 profile."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.modeling_layers import MtpModel

    own = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **own).eval()
    # it identifies the layers that are heads by the layer numbers of published models
    model._keys_to_ignore_on_load_unexpected = [rf"model\.layers\.{model.config.num_hidden_layers}.*"]
    head, tokens = MtpModel.from_pretrained(model, dtype=torch.float64).eval(), torch.tensor([TOKENS])
    with torch.no_grad():
        given, places = model.model(tokens).last_hidden_state[:, :-1], torch.arange(len(TOKENS) - 1)[None]
        rows = head.forward_layer(0, given, places, None, input_ids=tokens[:, 1:])
        double = head._project_to_logits(rows)[0].numpy()
    ours = predicted(intact.load(folder, "fp32", threads=1, drafter="heads"), TOKENS)
    part = double[np.ix_([p for p in POSITIONS if p < len(double)], range(0, double.shape[1], EVERY))]
    return {
        "range": round(float(np.ptp(double)), 3),
        "ours": float(f"{np.abs(ours - double).max() / np.ptp(double):.2g}"),
        "logits": [[round(float(x), 5) for x in row] for row in part],
    }


def as_granite(config: Mapping[str, Any], values: dict[str, np.ndarray]) -> tuple[dict[str, Any], Any]:
    """Return MiniCPM's model as one of Granite's class, because Transformers has no class for MiniCPM."""
    return {
        **config,
        "architectures": ["GraniteForCausalLM"],
        "model_type": "granite",
        "embedding_multiplier": config["scale_emb"],
        "attention_multiplier": (config["hidden_size"] // config["num_attention_heads"]) ** -0.5,
        "residual_multiplier": config["scale_depth"] / config["num_hidden_layers"] ** 0.5,
        "logits_scaling": config["hidden_size"] / config["dim_model_base"],
    }, values


LLAMA_NAMES = {
    "model.tok_embeddings": "model.embed_tokens",
    "output": "lm_head",
    "attention.wo": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
"""InternLM2's tensor names, and Llama's."""


def as_llama(config: Mapping[str, Any], values: dict[str, np.ndarray]) -> tuple[dict[str, Any], Any]:
    """Return InternLM2's model as one of Llama's class, because Transformers has no class for InternLM2."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    out = {}
    for name, array in values.items():
        stem, _, end = name.rpartition(".")
        layer = stem.partition(".layers.")[2].partition(".")[0]
        begin = f"model.layers.{layer}." if layer else ""
        part = stem.removeprefix(begin)
        if part == "attention.wqkv":  # for each KV head its queries, its key, its value
            groups = array.reshape(kv_heads, heads // kv_heads + 2, -1, array.shape[1])
            for letter, rows in (("q", groups[:, :-2]), ("k", groups[:, -2]), ("v", groups[:, -1])):
                out[f"{begin}self_attn.{letter}_proj.{end}"] = rows.reshape(-1, array.shape[1])
        else:
            out[f"{begin}{LLAMA_NAMES.get(part, part)}.{end}"] = array
    return {**config, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}, out


GLM_NAMES = {
    "word_embeddings": "embed_tokens",
    "attention.dense": "self_attn.o_proj",
    "attention.query_layernorm": "self_attn.q_norm",
    "attention.key_layernorm": "self_attn.k_norm",
    "mlp.gate.expert_bias": "mlp.gate.e_score_correction_bias",
}
"""Ling's tensor names, and GLM-4.5's."""


def as_glm(config: Mapping[str, Any], values: dict[str, np.ndarray]) -> tuple[dict[str, Any], Any]:
    """Return Ling 2.0's model as one of GLM-4.5's class, because Transformers has no class for Ling."""
    width, out = config["head_dim"], {}
    rows = [heads * width for heads in (config["num_attention_heads"], *[config["num_key_value_heads"]] * 2)]
    for name, array in values.items():
        if ".attention.query_key_value." in name:
            for part, own in zip("qkv", np.split(array, np.cumsum(rows)[:-1]), strict=True):
                out[name.replace("attention.query_key_value", f"self_attn.{part}_proj")] = own
            continue
        for old, new in GLM_NAMES.items():
            name = name.replace(old, new)
        out[name] = array
    own = {"n_routed_experts": config["num_experts"], "n_shared_experts": config["num_shared_experts"]}
    kind = {"architectures": ["Glm4MoeForCausalLM"], "model_type": "glm4_moe", "num_nextn_predict_layers": 0}
    return {**config, **own, **kind}, out


HEADED = ("deepseek-v3", "glm4moe", "glm4moe-air")
"""Models whose prediction heads are compared."""
PEER_CLASSES = {
    "minicpm": "GraniteForCausalLM",
    "internlm2": "LlamaForCausalLM",
    "bailingmoe2": "Glm4MoeForCausalLM",
}
PROGRAMS = {
    "hgrn-bit": matmul_free_logits,
    "hgrn-bit-unbounded": matmul_free_logits,
    "mamba3": mamba3_logits,
    "mamba3-turned": mamba3_logits,
}
"""Models whose formulas no Transformers class implements, with NumPy programs that do."""
NUMPY_PROGRAM = "a program in NumPy, float64"
PEERS = {"minicpm": as_granite, "internlm2": as_llama, "bailingmoe2": as_glm}
"""Models without a Transformers class, with their conversion to a class with the same formulas."""


def peer_folder(folder: Path, name: str) -> Path:
    """Write a model in a form that Transformers can read."""
    variant = VARIANTS[name]
    config, values = PEERS[name](variant.config, tensor_values(variant.config, name))
    folder.mkdir()
    stored_values = {key: (variant.kind, array.shape, stored(array, variant.kind)) for key, array in values.items()}
    write_safetensors(folder / "model.safetensors", stored_values)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def comparisons(goldens: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the package states about each architecture: classes, number of models, our largest distance."""
    found: dict[str, Any] = {}
    for name, golden in (goldens["models"] | goldens["encoders"]).items():
        config = (VARIANTS | ENCODERS)[name].config
        own = find_architecture(Checkpoint(Path(name), "safetensors", config, {})).own_name()
        one = found.setdefault(own, {"classes": [], "models": 0, "difference": 0.0})
        if name in PROGRAMS:
            one["program"] = NUMPY_PROGRAM
        else:
            peer = PEER_CLASSES.get(name, config["architectures"][0])
            one["classes"] = sorted({*one["classes"], peer})
        one["models"] += 1
        one["difference"] = max(one["difference"], golden["transformers"]["ours"])
    return goldens["versions"] | {"architectures": dict(sorted(found.items()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digests", action="store_true", help="keep the logits, renew only our digests")
    parser.add_argument("--new", action="store_true", help="keep existing goldens")
    arguments = parser.parse_args()
    keep = arguments.digests
    old = json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {"models": {}}
    models = {}
    for name, variant in VARIANTS.items():
        if arguments.new and name in old["models"]:
            models[name] = old["models"][name]
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = write_folder(Path(temporary), variant, name)
            theirs = peer_folder(Path(temporary) / "peer", name) if name in PEERS else folder
            if keep:
                logits = old["models"][name]["transformers"]
            else:
                logits = program_logits(name, folder) if name in PROGRAMS else transformers_logits(theirs, folder)
            models[name] = {"transformers": logits, "digests": digests(folder)}
        print(name, logits["range"], logits["float64"], models[name]["digests"], flush=True)
    made = {name for name in (VARIANTS | ENCODERS) if name not in old["models"] | old.get("encoders", {})}
    if keep or (arguments.new and made <= PROGRAMS.keys()):
        versions = old["versions"]
    else:
        import torch
        import transformers

        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        if arguments.new:  # of those that are kept, too
            before = {name: old["versions"][name].split(", ") for name in versions}
            versions = {name: ", ".join(sorted({*before[name], now})) for name, now in versions.items()}
    encoders = {}
    for name, variant in ENCODERS.items():
        known = old.get("encoders", {}).get(name)
        if arguments.new and known:
            encoders[name] = known
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = write_encoder(Path(temporary), variant, name)
            rows = known["transformers"] if keep else transformers_encoder(folder, name)
            encoders[name] = {"transformers": rows, "digests": encoder_digests(folder, name)}
        print(name, rows["range"], rows["ours"], rows["int8"], encoders[name]["digests"], flush=True)
    vision = {}
    for name in VISION:
        known = old.get("vision", {}).get(name)
        if arguments.new and known:
            vision[name] = known
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = write_vision(Path(temporary), name)
            logits = known["transformers"] if keep else transformers_vision(folder, name)
            vision[name] = {"transformers": logits, "digests": vision_digests(folder, name)}
        print(name, logits["range"], logits["ours"], logits["int8"], vision[name]["digests"], flush=True)
    heads = {}
    for name in HEADED:
        heads[name] = old.get("heads", {}).get(name)
        if heads[name] and (keep or arguments.new):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            heads[name] = transformers_head(write_folder_with_layer(Path(temporary), name)[0])
        print(name, heads[name]["range"], heads[name]["ours"], flush=True)
    whole = {"versions": versions, "positions": POSITIONS, "every": EVERY, "models": models, "encoders": encoders}
    text = json.dumps({**whole, "vision": vision, "heads": heads}, indent=None, separators=(", ", ": "))
    for part in ('"models"', '"encoders"', '"vision"', '"heads"'):
        text = text.replace(part, "\n" + part)
    GOLDENS.write_text(text + "\n")
    COMPARISONS.write_text(json.dumps(comparisons(whole), indent=1) + "\n")


if __name__ == "__main__":
    main()
