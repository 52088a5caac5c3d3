"""Heads that predict further tokens (multi-token prediction; DeepSeek-V3, arXiv 2412.19437) as separate programs.

Some models come with an extra layer that predicts one token further. From h, the input of the model's head at a token,
and the next token x, it computes the logits of the token after x: ``fc [norm(embedding of x), norm(h)]``, a layer with
attention, a norm, and the model's own head. The input of the head in this computation then replaces h to predict the
token after that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models import find_architecture
from intact.models.aspects.tables import Buffer
from intact.models.decoder import Decoder
from intact.models.decoder_files import further_layers
from intact.models.ops import AllGather, Embed, Linear, Scatter
from intact.models.program import Program

GIVEN: Final = "given"
"""Buffer with the input of the model's head. No operation writes it; the executor's exchange sets its rows."""
_JOIN: Final = "blk.0.nextn.eh_proj"
_NORMS: Final = {"embedded": "blk.0.nextn.enorm.weight", GIVEN: "blk.0.nextn.hnorm.weight"}
_HF: Final = {
    "mtp": {
        "mtp.fc": _JOIN,
        "mtp.pre_fc_norm_embedding": "blk.0.nextn.enorm",
        "mtp.pre_fc_norm_hidden": "blk.0.nextn.hnorm",
        "mtp.norm": "model.norm",
    },
    "layers": {
        "eh_proj": _JOIN,
        "enorm": "blk.0.nextn.enorm",
        "hnorm": "blk.0.nextn.hnorm",
        "shared_head.norm": "model.norm",
        "shared_head.head": "lm_head",
        "embed_tokens": "model.embed_tokens",
    },
}
"""Tensors of a head outside its layer, and their names here, by `Decoder.hf_heads`."""
_GGUF: Final = {
    "nextn.shared_head_norm.weight": "output_norm.weight",
    "nextn.shared_head_head.weight": "output.weight",
    "nextn.embed_tokens.weight": "token_embd.weight",
}
"""Tensors that replace the model's own; if a file lacks them, the head shares the model's."""
_GGUF_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)")
_SHARED: Final = ("token_embd.weight", "output.weight", "output_norm.weight")


class _HeadFiles(NamedTuple):
    """A folder's head as a one-layer model.

    Attributes
    ----------
    beginning : str
        Prefix of the names of its layer's tensors in the folder.
    parts : mapping
        Names of its other tensors in the folder, and their names here.
    """

    checkpoint: Checkpoint
    beginning: str
    parts: Mapping[str, str]


class _PredictionHead(Decoder):
    """The program of a head. Its input is not a token's embedding, but `fc` of the embedding and the given row."""

    beginning: ClassVar[str] = ""
    parts: ClassVar[Mapping[str, str]] = {}

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the embedding, the given rows, and the concatenation of both."""
        width = self.config.width
        own = {"embedded": Buffer(width, wide=True), GIVEN: Buffer(width, wide=True), "joined": Buffer(2 * width)}
        return super().buffers() | own

    def embed(self) -> None:
        """Append the norms of the embedding and of the given row, and the projection of their concatenation."""
        width = self.config.width
        self.ops.append(Embed("embedded", self.matrix("token_embd.weight", None, width)))
        self.ops.append(AllGather(None, GIVEN, (width,)))
        for part, (source, gain) in enumerate(_NORMS.items()):
            self.norm(source, "normed", gain)
            self.ops.append(Scatter("normed", "joined", 1, width, target_start=part * width, keep=part > 0))
        self.ops.append(Linear("joined", (self.target("x", _JOIN, width, 2 * width),)))

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by its canonical name; error messages use the file's name."""
        if name in self.tensors:
            return super().tensor(name)
        raise ModelError(f"{self.path}: tensor {self._file_name(name)} of the prediction head is missing")

    def _file_name(self, name: str) -> str:
        if self.config.from_gguf:
            return name.removeprefix("blk.0.")
        own = super().hf_name(name)
        for stem, place in self.parts.items():
            if place in (name.rpartition(".")[0], own.rpartition(".")[0]):
                return f"{stem}.{name.rpartition('.')[2]}"
        return own.replace("model.layers.0.", self.beginning)


def build_prediction_head(checkpoint: Checkpoint) -> Program | None:
    """Return the program of a checkpoint's prediction head; None if it has none, or one of an unsupported kind.

    The program starts with the `GIVEN` rows: an `AllGather` without a source, which the executor's exchange sets. Row i
    of a sequence takes token i + 1 and the input of the model's head at token i; its logits are for token i + 2.

    Raises
    ------
    ModelError
        If a tensor of the head is missing or has the wrong shape, or there are several layers.
    """
    architecture = find_architecture(checkpoint)
    if architecture.hf_heads is None:
        return None
    if checkpoint.format == "gguf":
        whole = _gguf_head(checkpoint, architecture.gguf)
        alone = None if whole is None else _HeadFiles(whole, "", {})
    elif architecture.hf_heads == "mtp":
        alone = _from_mtp(checkpoint, architecture)
    else:
        alone = _from_last_layer(checkpoint, architecture)
    if alone is None:
        return None
    names = {"beginning": alone.beginning, "parts": alone.parts}
    kind: type[Decoder] = type(f"{architecture.__name__}PredictionHead", (_PredictionHead, architecture), names)
    return kind(alone.checkpoint).build()


def _from_mtp(checkpoint: Checkpoint, architecture: type[Decoder]) -> _HeadFiles | None:
    """Return the head of a folder that stores it separately from the model (Qwen3-Next)."""
    own = {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith("mtp.")}
    if not own:
        return None
    text: Mapping[str, Any] = checkpoint.metadata.get("text_config") or checkpoint.metadata
    layers = text.get("mtp_num_hidden_layers", 1)
    if layers != 1 or text.get("mtp_use_dedicated_embeddings"):
        what = f"mtp_num_hidden_layers {layers!r:.20}, or embeddings of their own (mtp_use_dedicated_embeddings)"
        raise ModelError(
            f"{checkpoint.path}: prediction heads must have one layer and share the model's embeddings, found {what}"
        )
    mixes = any(name.startswith("mtp.layers.0.mlp.experts.") for name in own)
    changes = {
        "layer_types": ["full_attention"],
        "mlp_only_layers": [] if mixes else [0],
        "decoder_sparse_step": 1,
    }
    return _alone(checkpoint, architecture, own, "mtp.layers.0.", changes=changes, parts=_HF["mtp"])


def _from_last_layer(checkpoint: Checkpoint, architecture: type[Decoder]) -> _HeadFiles | None:
    """Return the head of a folder that stores it as an additional last layer (DeepSeek V3, GLM-4.5)."""
    further = further_layers(checkpoint, architecture.gguf)
    own = {
        name: tensor
        for name, tensor in checkpoint.tensors.items()
        if any(name.startswith(f"model.layers.{layer}.") for layer in further)
    }
    if not own:
        return None
    if len(further) > 1:
        found = f"num_nextn_predict_layers {len(further)}"
        raise ModelError(f"{checkpoint.path}: prediction heads must have one layer, found {found}")
    beginning = f"model.layers.{further[0]}."
    changes = {"num_nextn_predict_layers": 0, "first_k_dense_replace": 0, "mlp_layer_types": None}
    parts = {beginning + stem: place for stem, place in _HF["layers"].items()}
    return _alone(checkpoint, architecture, own, beginning, changes=changes, parts=parts)


def _alone(
    checkpoint: Checkpoint,
    architecture: type[Decoder],
    own: Mapping[str, Tensor],
    beginning: str,
    changes: Mapping[str, object],
    parts: Mapping[str, str],
) -> _HeadFiles:
    """Return a folder's head given its tensors, with the model's embedding and head if it has none of its own."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in own.items():
        stem, _, end = name.rpartition(".")
        tensors[f"{parts[stem]}.{end}" if stem in parts else name.replace(beginning, "model.layers.0.", 1)] = tensor
    for name, tensor in checkpoint.tensors.items():
        if architecture.canonical_name(name) in _SHARED[:2]:
            tensors.setdefault(name, tensor)
    metadata, given = dict(checkpoint.metadata), {"num_hidden_layers": 1, **changes}
    if "text_config" in metadata:
        given = {"text_config": {**metadata["text_config"], **given}}
    return _HeadFiles(Checkpoint(checkpoint.path, checkpoint.format, metadata | given, tensors), beginning, parts)


def _gguf_head(checkpoint: Checkpoint, architecture: str) -> Checkpoint | None:
    """Return a GGUF file's prediction head as a one-layer model."""
    m = Metadata(checkpoint.metadata, checkpoint.path, prefix=f"{architecture}.")
    if not m.integer("nextn_predict_layers", 0, least=0, most=1):
        return None
    count = m.integer("block_count", most=1024)
    tensors = {name: checkpoint.tensors[name] for name in _SHARED if name in checkpoint.tensors}
    for name, tensor in checkpoint.tensors.items():
        match = _GGUF_LAYER.fullmatch(name)
        if match and int(match[1]) == count - 1:
            tensors[_GGUF.get(match[2], f"blk.0.{match[2]}")] = tensor
    layers = {"nextn_predict_layers": 0, "block_count": 1, "full_attention_interval": 1, "leading_dense_block_count": 0}
    changes: dict[str, Any] = {m.prefix + name: value for name, value in layers.items()}
    if m.get("attention.recurrent_layers") is not None:
        changes[m.prefix + "attention.recurrent_layers"] = [False]
    return Checkpoint(checkpoint.path, checkpoint.format, {**m.values, **changes}, tensors)
