"""Files of decoder architectures: names of tensors, keys of hyper-parameters, and functions that read both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config, exact, read_gguf_config, read_hf_config, text_config
from intact.models.mixtures import (
    GGUF_STACKED,
    HF_COUNTS,
    SHARED,
    MixtureForm,
    numbered,
    read_gguf_mixture,
    read_hf_mixture,
    split_experts,
)
from intact.models.names import (
    ATTENTION,
    FEED_FORWARD,
    HF_LAYER,
    HF_NAMES,
    PARTS,
    SCAN_INPUTS,
    find_fused,
    split_rows,
    ungroup_heads,
)
from intact.models.reward_heads import reward_layers
from intact.models.windows import (
    each,
    global_layers,
    read_gguf_local_layers,
    read_hf_local_layers,
    read_hf_unrotated_layers,
)

_HF_UNUSED = re.compile(
    r"(model\.)?((vision|audio)_tower|embed_(vision|audio)|multi_modal_projector|visual)\..+|(model\.)?mtp[._].+"
    r"|.*\.rotary_emb\.inv_freq|.*\.attention\.(masked_)?bias"
)
"""Tensors that a text model ignores: vision and audio towers, layers that predict further tokens (Qwen), and
frequencies and masks that old checkpoints store."""

_HF_BARE = re.compile(r"model\.layers\.(\d+)\.(.+)")
_LAYER = re.compile(r"(?:blk|model\.layers)\.(\d+)\.")


class DecoderFiles:
    """The files of an architecture: GGUF, or safetensors with a config.json.

    `Decoder`, its only direct subclass, builds a program from the configuration and tensors read here.
    """

    name: ClassVar[str]
    """Name of an architecture whose GGUF files use another architecture's name and form; defaults to `gguf`."""
    gguf: ClassVar[str]
    """Name of the architecture in GGUF files (general.architecture)."""
    hf: ClassVar[tuple[str, ...]]
    """Names in config.json (architectures)."""
    hf_types: ClassVar[tuple[str, ...]] = ()
    """Values of `model_type` in config.json for an architecture that Transformers runs, and names, as another."""
    hf_names: ClassVar[dict[str, str]] = HF_NAMES
    """Map of canonical tensor names to safetensors names."""
    gguf_names: ClassVar[Mapping[str, str]] = {}
    """Map of canonical tensor names to names in GGUF files, where they differ."""
    hf_defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults for keys that a config.json may omit: values in Transformers' configuration class, if they matter."""
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    """Keys in config.json of features that would change the output but are not implemented, with harmless values.
    """
    hf_aliases: ClassVar[Mapping[str, str]] = {}
    """Alternative keys in config.json for those that are read, as written by some versions of Transformers
    (`attribute_map`) or by the authors' code. All keys for the number of experts are known (`mixtures.HF_COUNTS`).
    """
    hf_activation: ClassVar[tuple[str, str]] = ("hidden_act", "silu")
    """Key in config.json that names the activation, and its only supported value."""
    hf_beginning: ClassVar[str] = "model."
    """Prefix of the decoder's tensor names in safetensors; in `hf_names` it is always `model.`."""
    hf_unnamed: ClassVar[bool] = False
    """If true, a config.json need not name an architecture, as in files not written by Transformers (`claims`)."""
    hf_bare: ClassVar[Mapping[str, str]] = {}
    """Safetensors names, within a layer, of tensors that end in neither `weight` nor `bias`, to their canonical names.
    """
    has_further_layers: ClassVar[bool] = False
    """If true, files may have additional last layers that predict further tokens; the program ignores them."""
    hf_heads: ClassVar[Literal["mtp", "layers"] | None] = None
    """Location in safetensors of heads that predict further tokens: tensors under `mtp.`, or additional last layers;
    None: they are not read (`intact.models.prediction_heads`)."""
    mixture: ClassVar[MixtureForm | None] = None
    """Keys and defaults of mixtures of experts in files, if models may have them."""
    soft_caps: ClassVar[tuple[float, float] | None] = None
    """Soft caps of scores and of logits for GGUF files without keys for them, if models have any."""
    biases: ClassVar[dict[str, bool | str]] = {
        **dict.fromkeys((*ATTENTION, "attn_output"), "attention_bias"),
        **dict.fromkeys(FEED_FORWARD, False),
    }
    """For each matrix, true if it has a bias, or the key in config.json that decides."""
    has_local_layers: ClassVar[bool] = False
    """If true, layers may attend to a window. Which of them do is read from the files."""
    local_but_each: ClassVar[int] = 0
    """For files with a window but no list of local layers: all layers except every n-th are local; 0: all are."""
    unrotated_each: ClassVar[int] = 0
    """Every n-th layer has no positions, unless a config.json lists such layers (`no_rope_layers`); 0: all do."""
    rotates_local_alone: ClassVar[bool] = False
    """If true, only the layers that attend to a window have positions in files with a window."""
    partial_rotary: ClassVar[bool] = False
    """If true, a config.json may have partially rotated heads (`partial_rotary_factor`)."""
    layer_norms: ClassVar[bool] = False
    """If true, the norms are layer norms; otherwise RMS norms."""
    hf_eps: ClassVar[str] = "rms_norm_eps"
    """Key in config.json of the norms' epsilon."""
    fused: ClassVar[Mapping[str, str]] = {}
    """Fused matrices in safetensors (keys of `names.PARTS`), with their names there."""
    gguf_fused: ClassVar[tuple[str, ...]] = ()
    """Matrices that GGUF files may store fused."""
    gguf_shared: ClassVar[tuple[str, ...]] = ()
    """Other architectures whose GGUF files use this one's name; they recognise their own files (`claims`)."""
    gguf_stems: ClassVar[Mapping[str, str]] = {}
    """Names of fused matrices in GGUF files, where they differ from `names.PARTS`."""
    hf_stacked: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Safetensors names of tensors that hold matrices of all experts, with the matrices of each expert in order."""
    hf_groups_heads: ClassVar[bool] = False
    """If true, rows of a fused `attn_qkv` in safetensors are grouped by KV head: its queries, its key, its value."""
    multipliers: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Fields of `Config` that hold factors, with their keys in GGUF and in config.json."""
    divides_logits: ClassVar[bool] = True
    """If true, `logit_scale` is a divisor, otherwise a factor."""
    sample: ClassVar[Mapping[str, Any]] = {}
    """GGUF keys (without the architecture's name) that a small checkpoint needs in addition to the common ones to
    exercise all features of the architecture; tests write random checkpoints with them."""

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the hyper-parameters of a checkpoint.

        Raises
        ------
        ModelError
            If a hyper-parameter is missing, of the wrong type, out of bounds, or not supported.
        """
        if checkpoint.format == "gguf":
            m = Metadata(checkpoint.metadata, checkpoint.path, prefix=cls.gguf + ".")
            return cls.read_gguf(without_further_layers(m) if cls.has_further_layers else m)
        counts = dict.fromkeys(HF_COUNTS, cls.mixture.hf_count) if cls.mixture else {}
        aliases = {alias: key for alias, key in {**counts, **cls.hf_aliases}.items() if alias != key}
        keys, defaults = cls.read_keys(), cls.hf_defaults
        config = cls.read_hf(text_config(checkpoint.metadata, checkpoint.path, defaults, keys, aliases=aliases))
        heads = tuple(f"{layer}.{end}" for layer in reward_layers(checkpoint.metadata) for end in ("weight", "bias"))
        return replace(config, tied=True, other_heads=heads) if heads else config

    @classmethod
    def claims(cls, metadata: Mapping[str, Any]) -> bool:
        """Return true if a file that uses another architecture's name belongs to this one, judging by its metadata."""
        return False

    @classmethod
    def read_keys(cls) -> frozenset[str]:
        """Return the keys that this architecture reads itself and that would otherwise be refused."""
        return frozenset(
            {key for key, _ in cls.multipliers.values()}
            | ({"attn_logit_softcapping", "final_logit_softcapping"} if cls.soft_caps else set())
            | ({"expert_count", cls.mixture.hf_count} if cls.mixture else set())
        )

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters of a GGUF file; subclasses add their own."""
        eps = "attention.layer_norm_epsilon" if cls.layer_norms else "attention.layer_norm_rms_epsilon"
        config = read_gguf_config(m, cls.biases, cls.read_keys(), eps)
        config = replace(
            config,
            **cls.read_multipliers(m, 0),
            **cls.read_caps(m, cls.soft_caps or (0.0, 0.0)),
            unrotated_layers=each(cls.unrotated_each, config.layers),
            mixture=read_gguf_mixture(m, cls.mixture, config.layers) if cls.mixture else None,
        )
        window = m.integer("attention.sliding_window", 0, least=0)
        if window and cls.rotates_local_alone:
            local = read_gguf_local_layers(m, config.layers, cls.local_but_each)
            config = replace(config, unrotated_layers=global_layers(local))
        if not 0 < window < config.context:
            return config
        if not cls.has_local_layers:
            key = "attention.sliding_window"
            m.refuse(key, "0 (local layers are not supported for this architecture)", window)
        return replace(config, window=window, local_layers=read_gguf_local_layers(m, config.layers, cls.local_but_each))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters of a config.json; subclasses add their own."""
        m.refuse_features(cls.hf_refused)
        config = read_hf_config(m, cls.biases, cls.partial_rotary, cls.read_keys(), eps=cls.hf_eps)
        config = replace(
            config,
            **cls.read_multipliers(m, 1),
            **cls.read_caps(m, (0.0, 0.0)),
            mixture=read_hf_mixture(m, cls.mixture, config.layers)
            if cls.mixture and m.get(cls.mixture.hf_count)
            else None,
        )
        key, activation = cls.hf_activation
        m.choice(key, (activation,))
        allowed = ("full_attention", "sliding_attention")[: 1 + cls.has_local_layers]
        kinds = m.get("layer_types")
        if kinds is not None and not (
            isinstance(kinds, list) and len(kinds) == config.layers and all(kind in allowed for kind in kinds)
        ):
            m.refuse("layer_types", f"a list with {' or '.join(allowed)} for each of {config.layers} layers", kinds)
        config = replace(config, unrotated_layers=read_hf_unrotated_layers(m, config.layers, cls.unrotated_each))
        if not cls.has_local_layers or m.get("sliding_window") is None:
            return config
        local, window = read_hf_local_layers(m, config.layers, cls.local_but_each), m.integer("sliding_window")
        if cls.rotates_local_alone:
            config = replace(config, unrotated_layers=global_layers(local))
        return replace(config, window=window, local_layers=local) if any(local) and window < config.context else config

    @classmethod
    def read_multipliers(cls, m: Metadata, form: int) -> dict[str, Any]:
        """Read the factors in a file; `form` is 0 for GGUF, where 0 means no factor, and 1 for config.json."""
        found = {}
        for field, keys in cls.multipliers.items():
            if m.get(keys[form]):
                value = exact(m.number(keys[form], least=1e-6, most=4095.0))
                found[field] = 1 / value if field == "logit_scale" and cls.divides_logits else value
        return found

    @classmethod
    def read_caps(cls, m: Metadata, defaults: tuple[float, float]) -> dict[str, Any]:
        """Read the soft caps, whose keys are the same in GGUF and in config.json; 0: no cap."""
        keys = {"score_cap": "attn_logit_softcapping", "logit_cap": "final_logit_softcapping"} if cls.soft_caps else {}
        found = {}
        for (field, key), default in zip(keys.items(), defaults, strict=False):
            if m.get(key, default):
                found[field] = exact(m.number(key, default, least=1.0, most=16384.0))
        return found

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Return a checkpoint in which each matrix is a separate tensor, named as in its format."""
        gguf = checkpoint.format == "gguf"
        if not gguf and cls.hf_beginning != "model.":
            named = {cls.common_name(name): tensor for name, tensor in checkpoint.tensors.items()}
            checkpoint = Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, named)
        if config.mixture and gguf:
            checkpoint = split_experts(checkpoint, config.mixture.count, GGUF_STACKED)
        elif config.mixture:
            checkpoint = split_experts(checkpoint, config.mixture.count, cls.hf_stacked, cls.hf_name)
        stems = (
            {cls.gguf_stems.get(stem, stem): stem for stem in cls.gguf_fused}
            if gguf
            else {own: stem for stem, own in cls.fused.items()}
        )
        found = {name: rest for name, *rest in find_fused(checkpoint.tensors, gguf, stems)}
        if not found:
            return checkpoint
        rows = cls.row_counts(config)
        tensors: dict[str, Tensor] = {}
        for name, tensor in checkpoint.tensors.items():
            if name not in found:
                tensors[name] = tensor
                continue
            layer, stem, end = found[name]
            if cls.hf_groups_heads and not gguf and stem == "attn_qkv":
                tensor = ungroup_heads(tensor, config.heads, config.kv_heads, config.head_width)
            own = {part: f"blk.{layer}.{part}.{end}" for part in PARTS[stem]}
            parts = {own[part] if gguf else cls.hf_name(own[part]): rows[part] for part in PARTS[stem]}
            try:
                tensors |= {part.name: part for part in split_rows(tensor, parts)}
            except ModelError as error:
                raise ModelError(f"{checkpoint.path}: {error}") from error
        return Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors)

    @classmethod
    def row_counts(cls, config: Config) -> dict[str, int]:
        """Return the row counts of matrices that files may store fused."""
        q, kv = config.heads * config.head_width, config.kv_heads * config.head_width
        rows = dict(zip((*ATTENTION, "ffn_gate", "ffn_up"), (q, kv, kv, config.hidden, config.hidden), strict=True))
        rows |= dict.fromkeys(SHARED[:2], config.mixture.shared if config.mixture else config.hidden)
        if config.scan:
            sizes = (config.scan.inner, config.scan.channels, config.scan.heads)
            rows |= dict(zip(SCAN_INPUTS, sizes, strict=True))
        return rows

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors under GGUF names, whatever the format; tensors without such a name keep their own."""
        tensors = checkpoint.tensors
        if cls.has_further_layers:
            further = further_layers(checkpoint, cls.gguf)
            layers = {name: _LAYER.match(name) for name in tensors}
            tensors = {name: tensors[name] for name, at in layers.items() if at is None or int(at[1]) not in further}
        if checkpoint.format == "gguf":
            canonical = {gguf: own for own, gguf in cls.gguf_names.items()}
            return {canonical.get(name, name): tensor for name, tensor in tensors.items()}
        return {cls.canonical_name(name): tensor for name, tensor in tensors.items() if not _HF_UNUSED.fullmatch(name)}

    @classmethod
    def common_name(cls, name: str) -> str:
        """Return a safetensors name with the prefix that most models use."""
        return "model." + name.removeprefix(cls.hf_beginning) if name.startswith(cls.hf_beginning) else name

    @classmethod
    def canonical_name(cls, name: str) -> str:
        """Return the GGUF name of a safetensors tensor; if it has none, its own name, which `refuse_unused` refuses."""
        names = {hf: own for own, hf in cls.hf_names.items()}
        plain = cls.common_name(name).removeprefix("language_model.").replace("model.language_model.", "model.", 1)
        if (bare := _HF_BARE.fullmatch(plain)) and bare[2] in cls.hf_bare:
            return f"blk.{bare[1]}.{cls.hf_bare[bare[2]]}"
        match = HF_LAYER.fullmatch(plain)
        if match and match[2] in names:
            return f"blk.{match[1]}.{names[match[2]]}.{match[3]}"
        if match and (expert := numbered(match[2])) and expert[0] in names:
            return f"blk.{match[1]}.{names[expert[0]]}.{expert[1]}.{match[3]}"
        if (parts := plain.rpartition("."))[0] in names and parts[2] in ("weight", "bias", "largest_input"):
            return f"{names[parts[0]]}.{parts[2]}"
        return name

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the safetensors name for a tensor's canonical name."""
        stem, _, end = name.rpartition(".")
        own = f"{cls.hf_names.get(stem, stem)}.{end}"
        if name.startswith("blk."):
            _, layer, part = name.split(".", 2)
            bare = next((bare for bare, canonical in cls.hf_bare.items() if canonical == part), None)
            part = part.removesuffix(f".{end}")
            expert, _, number = part.rpartition(".")
            part, number = (expert, number) if number.isdigit() else (part, "")
            whole = bare or f"{cls.hf_names.get(part, part).replace('*', number)}.{end}"
            own = f"model.layers.{layer}.{whole}"
        return cls.hf_beginning + own.removeprefix("model.") if own.startswith("model.") else own

    @classmethod
    def own_name(cls) -> str | None:
        """Return the name in the registry; None for base classes of architectures."""
        found: str | None = vars(cls).get("name", vars(cls).get("gguf"))
        return found


def without_further_layers(m: Metadata) -> Metadata:
    """Return a GGUF file's metadata without the layers that predict further tokens, which `block_count` includes."""
    count = m.integer("block_count", most=1024)
    layers = count - m.integer("nextn_predict_layers", 0, least=0, most=count - 1)
    return Metadata({**m.values, m.prefix + "block_count": layers}, m.source, prefix=m.prefix)


def further_layers(checkpoint: Checkpoint, architecture: str) -> range:
    """Return the numbers of the additional last layers that predict further tokens."""
    if checkpoint.format == "gguf":
        m = Metadata(checkpoint.metadata, checkpoint.path, prefix=architecture + ".")
        return range(without_further_layers(m).integer("block_count"), m.integer("block_count"))
    whole = Metadata(checkpoint.metadata, checkpoint.path)
    m = Metadata(whole.mapping("text_config") or whole.values, checkpoint.path)
    more = 0 if m.get("num_nextn_predict_layers") is None else m.integer("num_nextn_predict_layers", least=0, most=1024)
    return range(m.integer("num_hidden_layers"), m.integer("num_hidden_layers") + more)
