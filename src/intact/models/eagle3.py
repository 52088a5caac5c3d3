"""EAGLE-3 heads (Li et al. 2025, arXiv 2503.01840): a single layer that drafts for a model, as a separate program.

The head takes the concatenated inputs of three of the model's layers after a token, and the embedding of the next
token, and computes the logits of the token after that. For the following token, its own layer's output replaces the
model's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.adapters import STREAM
from intact.models.aspects.tables import Buffer
from intact.models.decoder import Decoder
from intact.models.layers import segments
from intact.models.llama import Llama
from intact.models.names import names_eagle_head
from intact.models.ops import AllGather, Embed, Linear, Scatter
from intact.models.program import Program

FEATURES: Final = "features"
"""Buffer for the model's rows, which no operation writes."""
_ENTERED: Final = "entered"
_EMBEDDING: Final = "token_embd.weight"
_LAYER: Final = ("midlayer.", "layers.0.")
_PARTS: Final = {"norm": "model.norm", "lm_head": "lm_head", "embed_tokens": "model.embed_tokens", "fc": "blk.0.fc"}
"""Stems of tensors outside the layer, and their names here."""


class EagleHead(NamedTuple):
    """A head, and the rows that it reads.

    Attributes
    ----------
    program : Program
        A program with three exchanges: the first sets `FEATURES`, the second adds rows to their projection, the third
        reads the layer's output.
    boundaries : tuple of int
        Layers of the model whose inputs the head reads.
    tokens : int32 (logits,), optional
        The model's token for each logit; None if they are the same.
    """

    program: Program
    boundaries: tuple[int, ...]
    tokens: NDArray[np.int32] | None


class _Eagle(Llama):
    """The program of a head, which may use the model's embedding."""

    rows: ClassVar[int]
    """Width of the model's concatenated rows."""
    drafted: ClassVar[int]
    """Number of the head's logits."""
    norms_entered: ClassVar[bool]
    """If true, the layer's residual stream starts after the norm (`norm_before_residual` of vLLM's speculators)."""

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including embedding, model rows, their projection, and the input of attention."""
        width = self.config.width
        own = {"embedded": Buffer(width, wide=True), FEATURES: Buffer(self.rows, wide=True)}
        own |= {_ENTERED: Buffer(width, wide=True)} if self.norms_entered else {}
        return super().buffers() | own | {"joined": Buffer(2 * width)}

    @property
    def entered(self) -> str:
        """Buffer that holds the projection of the model's rows."""
        return _ENTERED if self.norms_entered else STREAM

    def embed(self) -> None:
        """Append the embedding and the projection of the model's rows, to which the head's own rows are added."""
        width = self.config.width
        self.ops.append(Embed("embedded", self.matrix(_EMBEDDING, None, width)))
        self.ops.append(AllGather(None, FEATURES, (self.rows,)))
        self.ops.append(Linear(FEATURES, (self.target(self.entered, "blk.0.fc", width, self.rows),)))
        self.ops.append(AllGather(None, self.entered, (width,), accumulate=True))

    def layer(self, i: int) -> None:
        """Append the layer, whose attention reads the normed embedding and the normed rows, concatenated."""
        width = self.config.width
        for part, (source, gain) in enumerate((("embedded", "attn_norm"), (self.entered, "hidden_norm"))):
            self.norm(source, "normed", f"blk.{i}.{gain}.weight")
            self.ops.append(Scatter("normed", "joined", 1, width, target_start=part * width, keep=part > 0))
        if self.norms_entered:
            self.norm(self.entered, STREAM, f"blk.{i}.hidden_norm.weight")
        self.attention(i)
        self.project(i, STREAM, accumulate=True)
        self.norm(STREAM, "normed", f"blk.{i}.ffn_norm.weight")
        self.feed_forward(i, STREAM, accumulate=True)

    def attention_inputs(self, i: int) -> None:
        """Append the projections of the two concatenated norms."""
        c = self.config
        sizes = {"q": c.heads * c.head_width, "k": c.kv_heads * c.head_width, "v": c.kv_heads * c.head_width}
        targets = (self.target(to, f"blk.{i}.attn_{to}", rows, 2 * c.width) for to, rows in sizes.items())
        self.ops.append(Linear("joined", tuple(targets)))

    def finish(self, tied: bool, vocabulary: int) -> None:
        """Append the exchange that reads the layer's output, and a head with fewer tokens than the embedding."""
        self.ops.append(AllGather(None, STREAM, (self.config.width,), accumulate=True))
        super().finish(tied, self.drafted)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by its canonical name; error messages use the file's name."""
        if name in self.tensors:
            return super().tensor(name)
        own = self.hf_name(name).replace("model.layers.0.", _LAYER[0]).removeprefix("model.")
        own = "fc.weight" if name == "blk.0.fc.weight" else own
        raise ModelError(f"{self.path}: tensor {own} of the EAGLE-3 head is missing")


def is_eagle_head(checkpoint: Checkpoint) -> bool:
    """Return true for the folder of an EAGLE-3 head in the form of its authors, SGLang or vLLM's speculators."""
    named = checkpoint.metadata.get("architectures")
    return isinstance(named, list) and any(isinstance(name, str) and names_eagle_head(name) for name in named)


def build_eagle_head(checkpoint: Checkpoint, model: Program) -> EagleHead:
    """Build the head in a folder that drafts for a model.

    Raises
    ------
    ModelError
        If a tensor is missing, has the wrong shape or is not used, or the head was made for a different model.
    """
    whole = Metadata(checkpoint.metadata, checkpoint.path)
    config = dict(whole.mapping("transformer_layer_config") or whole.values)
    boundaries = _boundaries(whole, model)
    tensors = _renamed(checkpoint)
    tensors.setdefault("model.embed_tokens.weight", model.tensors[_EMBEDDING])
    embedded = tensors["model.embed_tokens.weight"].shape[0]
    if embedded != model.vocabulary:
        raise ModelError(
            f"{checkpoint.path}: its embedding has {embedded} tokens, but the model has {model.vocabulary}"
        )
    drafted = whole.integer("draft_vocab_size", model.vocabulary, least=1, most=model.vocabulary)
    tokens = _tokens(checkpoint, drafted, model.vocabulary)
    width = model.buffers[STREAM].width
    config |= {"num_hidden_layers": 1, "vocab_size": model.vocabulary, "tie_word_embeddings": False}
    alone = Checkpoint(checkpoint.path, "safetensors", {**config, "architectures": list(Llama.hf)}, tensors)
    facts = {
        "rows": len(boundaries) * width,
        "drafted": drafted,
        "norms_entered": whole.get("norm_before_residual", False) is True,
    }
    kind: type[Decoder] = type("_EagleHead", (_Eagle,), facts)
    return EagleHead(kind(alone).build(), boundaries, tokens)


def _boundaries(m: Metadata, model: Program) -> tuple[int, ...]:
    """Return the layers whose inputs the head reads: those in the file, else the third, the middle and the third-last.

    SGLang's `eagle_config` names the layers whose outputs are read, vLLM's own key those whose inputs are read.
    """
    layers = len(segments(model).layers)
    eagle: Mapping[str, Any] = m.mapping("eagle_config") or {}
    key = "eagle_aux_hidden_state_layer_ids"
    given, more = (eagle[key], 1) if eagle.get(key) else (m.get(key), 0)
    found = [2, layers // 2, layers - 3] if given is None else given
    if not isinstance(found, list) or not all(type(one) is int and 0 <= one + more < layers for one in found):
        raise ModelError(f"{m.source}: {key} must list layers of the model, which has {layers}, got {found!r:.80}")
    return tuple(one + more for one in found)


def _renamed(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the tensors in and around the layer, named as in a one-layer model."""
    found: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        beginning = next((one for one in _LAYER if name.startswith(one)), "")
        stem, _, end = name.rpartition(".")
        if name == f"{beginning}hidden_norm.weight":
            found["blk.0.hidden_norm.weight"] = tensor
        elif beginning:
            found["model.layers.0." + name.removeprefix(beginning)] = tensor
        elif name not in ("d2t", "t2d"):
            found[f"{_PARTS[stem]}.{end}" if stem in _PARTS else name] = tensor
    return found


def _tokens(checkpoint: Checkpoint, drafted: int, vocabulary: int) -> NDArray[np.int32] | None:
    """Return the model's token for each logit, from the differences in `d2t`."""
    tensor = checkpoint.tensors.get("d2t")
    if tensor is None:
        if drafted == vocabulary:
            return None
        raise ModelError(f"{checkpoint.path}: tensor d2t, which maps the {drafted} logits to tokens, is missing")
    if tensor.kind != "I64" or tensor.shape != (drafted,):
        raise ModelError(f"{checkpoint.path}: tensor d2t is {tensor.kind} {tensor.shape}, expected I64 ({drafted},)")
    tokens = tensor.data.view("<i8") + np.arange(drafted)
    if len(np.unique(tokens)) < drafted or tokens.min() < 0 or tokens.max() >= vocabulary:
        raise ModelError(f"{checkpoint.path}: tensor d2t names a token twice, or one outside the model's {vocabulary}")
    return tokens.astype(np.int32)
