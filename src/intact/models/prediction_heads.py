"""Heads that predict further tokens (multi-token prediction; DeepSeek-V3, arXiv 2412.19437) as programs of their own.

Models with gated delta nets come with one layer that looks one token further. Of h, which enters the model's head
behind a token, and of the next token x it makes the logits of the token behind that: ``fc [norm(embedding of x),
norm(h)]``, a layer with attention, a norm, and the model's own head. What enters the head then, in the place of h,
leads to the token after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from intact.errors import ModelError
from intact.formats import Checkpoint, Tensor
from intact.formats.metadata import Metadata
from intact.models import find_architecture
from intact.models.decoder import Decoder
from intact.models.delta_nets import DeltaNets
from intact.models.program import AllGather, Buffer, Embed, Linear, Program, Scatter

GIVEN: Final = "given"
"""The buffer with what entered the model's head, which no operation makes: the executor's exchange sets its rows."""
_JOIN: Final = "blk.0.nextn.eh_proj"
_NORMS: Final = {"embedded": "blk.0.nextn.enorm.weight", GIVEN: "blk.0.nextn.hnorm.weight"}
_HF: Final = {
    "mtp.fc": _JOIN,
    "mtp.pre_fc_norm_embedding": "blk.0.nextn.enorm",
    "mtp.pre_fc_norm_hidden": "blk.0.nextn.hnorm",
    "mtp.norm": "model.norm",
}
_GGUF: Final = {
    "nextn.shared_head_norm.weight": "output_norm.weight",
    "nextn.shared_head_head.weight": "output.weight",
    "nextn.embed_tokens.weight": "token_embd.weight",
}
"""Tensors that stand in the place of the model's own; a file without one has the model's for both."""
_GGUF_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)")
_SHARED: Final = ("token_embd.weight", "output.weight", "output_norm.weight")


class _PredictionHead(Decoder):
    """The program of a head: instead of a token's embedding, what `fc` makes of it and of the given row."""

    def buffers(self) -> dict[str, Buffer]:
        """Return also the embedding, the given rows, and both side by side."""
        width = self.config.width
        own = {"embedded": Buffer(width, wide=True), GIVEN: Buffer(width, wide=True), "joined": Buffer(2 * width)}
        return super().buffers() | own

    def embed(self) -> None:
        """Append the norms of the embedding and of the given row, and the product of both side by side."""
        width = self.config.width
        self.ops.append(Embed("embedded", self.matrix("token_embd.weight", None, width)))
        self.ops.append(AllGather(None, GIVEN, (width,)))
        for part, (source, gain) in enumerate(_NORMS.items()):
            self.norm(source, "normed", gain)
            self.ops.append(Scatter("normed", "joined", 1, width, target_start=part * width, keep=part > 0))
        self.ops.append(Linear("joined", (self.target("x", _JOIN, width, 2 * width),)))

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by its canonical name; a message has the file's."""
        if name in self.tensors:
            return super().tensor(name)
        own = name.removeprefix("blk.0.")
        if not self.config.from_gguf:
            hf = super().hf_name(name).replace("model.layers.", "mtp.layers.").replace("model.norm.", "mtp.norm.")
            stem, _, end = name.rpartition(".")
            own = next((f"{other}.{end}" for other, canonical in _HF.items() if canonical == stem), hf)
        raise ModelError(f"{self.path}: tensor {own} of the prediction head is missing")


def build_prediction_head(checkpoint: Checkpoint) -> Program | None:
    """Return the program of a checkpoint's prediction head; None if it has none, or the architecture has none here.

    Its first rows are `GIVEN` ones: an `AllGather` without a source, for the executor's exchange to set. Row i of a
    text has token i + 1 and what entered the model's head behind token i. Logits are those of token i + 2.

    Raises
    ------
    ModelError
        If a tensor of the head is missing or misshapen, or there are several layers.
    """
    architecture = find_architecture(checkpoint)
    if not issubclass(architecture, DeltaNets):
        return None
    alone = _gguf_head(checkpoint, architecture.gguf) if checkpoint.format == "gguf" else _hf_head(checkpoint)
    if alone is None:
        return None
    kind: type[Decoder] = type(f"{architecture.__name__}PredictionHead", (_PredictionHead, architecture), {})
    return kind(alone).build()


def _hf_head(checkpoint: Checkpoint) -> Checkpoint | None:
    """Return a folder's prediction head as a model of one layer."""
    own = {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith("mtp.")}
    if not own:
        return None
    tensors: dict[str, Tensor] = {}
    for name, tensor in own.items():
        stem, _, end = name.rpartition(".")
        tensors[f"{_HF[stem]}.{end}" if stem in _HF else "model." + name.removeprefix("mtp.")] = tensor
    for name, tensor in checkpoint.tensors.items():
        if DeltaNets.canonical_name(name) in _SHARED[:2]:
            tensors.setdefault(name, tensor)
    metadata = dict(checkpoint.metadata)
    text: Mapping[str, Any] = metadata.get("text_config") or metadata
    layers = text.get("mtp_num_hidden_layers", 1)
    if layers != 1 or text.get("mtp_use_dedicated_embeddings"):
        what = f"mtp_num_hidden_layers {layers!r:.20}, or embeddings of their own (mtp_use_dedicated_embeddings)"
        raise ModelError(f"{checkpoint.path}: prediction heads have one layer and the model's embeddings, found {what}")
    mixes = any(name.startswith("mtp.layers.0.mlp.experts.") for name in own)
    changes = {
        "num_hidden_layers": 1,
        "layer_types": ["full_attention"],
        "mlp_only_layers": [] if mixes else [0],
        "decoder_sparse_step": 1,
    }
    metadata = metadata | ({"text_config": {**text, **changes}} if "text_config" in metadata else changes)
    return Checkpoint(checkpoint.path, checkpoint.format, metadata, tensors)


def _gguf_head(checkpoint: Checkpoint, architecture: str) -> Checkpoint | None:
    """Return a GGUF file's prediction head as a model of one layer."""
    m = Metadata(checkpoint.metadata, checkpoint.path, prefix=f"{architecture}.")
    if not m.integer("nextn_predict_layers", 0, least=0, most=1):
        return None
    count = m.integer("block_count", most=1024)
    tensors = {name: checkpoint.tensors[name] for name in _SHARED if name in checkpoint.tensors}
    for name, tensor in checkpoint.tensors.items():
        match = _GGUF_LAYER.fullmatch(name)
        if match and int(match[1]) == count - 1:
            tensors[_GGUF.get(match[2], f"blk.0.{match[2]}")] = tensor
    layers = {"nextn_predict_layers": 0, "block_count": 1, "full_attention_interval": 1}
    changes: dict[str, Any] = {m.prefix + name: value for name, value in layers.items()}
    if m.get("attention.recurrent_layers") is not None:
        changes[m.prefix + "attention.recurrent_layers"] = [False]
    return Checkpoint(checkpoint.path, checkpoint.format, {**m.values, **changes}, tensors)
