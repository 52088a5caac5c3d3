"""ViT: an image encoder whose rows are pixel patches and a class token (arXiv 2010.11929)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.tables import Buffer
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.images import ImageForm, read_form, read_levels
from intact.models.ops import AllGather, Embed, Linear, Logits, Target
from intact.models.program import Program

CLASS: Final = "ViTForImageClassification"
PIXELS: Final = "pixels"
"""Buffer with the pixel rows. No operation writes it; the executor's exchange sets them."""
BIAS: Final = "output.bias"
"""Tensor that is added to the logits."""
CLASS_TOKEN, PATCH_TOKEN = 0, 1
"""Tokens of an image: first the class token, then one token per patch."""
_EMBEDDINGS: Final = {
    "cls": "vit.embeddings.cls_token",
    "position_embd.weight": "vit.embeddings.position_embeddings",
    "patch_embd.weight": "vit.embeddings.patch_embeddings.projection.weight",
    "patch_embd.bias": "vit.embeddings.patch_embeddings.projection.bias",
    "output_norm.weight": "vit.layernorm.weight",
    "output_norm.bias": "vit.layernorm.bias",
    "output.weight": "classifier.weight",
    "output.bias": "classifier.bias",
}
_LAYER: Final = {
    "attn_norm": "layernorm_before",
    "attn_q": "attention.attention.query",
    "attn_k": "attention.attention.key",
    "attn_v": "attention.attention.value",
    "attn_output": "attention.output.dense",
    "ffn_norm": "layernorm_after",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
}
_HF_LAYER: Final = re.compile(r"vit\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_TOKENS: Final = "token_embd.weight"
_DEFAULTS: Final[dict[str, Any]] = {"layer_norm_eps": 1e-12, "num_channels": 3, "image_size": 224, "patch_size": 16}
_OTHERS: Final = {
    "DeiT": "a token for distillation",
    "ViTHybrid": "a convolutional network instead of patches",
    "Swin": "attention in shifted windows",
    "Beit": "relative positions",
    "Dinov2": "scales of layers",
}
"""Features of related classes that are not supported, by the prefix of the class name."""


class VisionModel(NamedTuple):
    """An image classifier.

    Attributes
    ----------
    program : Program
        Its sequences are images: `CLASS_TOKEN`, then `PATCH_TOKEN` for each patch. The rows of `PIXELS` come from
        `images.cut_patches`, with zeros for the class token. The result is the logits of the first row plus the tensor
        `BIAS`.
    form : ImageForm
    levels : float64 (channels, 256)
        The model's input for each pixel value.
    labels : tuple of str
        Names of the classes.
    """

    program: Program
    form: ImageForm
    levels: NDArray[np.float64]
    labels: tuple[str, ...]


class VisionTransformer(Decoder):
    """Layer norms before attention and network, exact GELU (error function), learned positions, pixels as rows."""

    gguf = "vit"
    hf = (CLASS,)
    hf_names = _LAYER
    activation = "gelu_erf"
    gated = False
    causal = False
    layer_norms = True
    norm_biases = True

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.form = read_form(_metadata(checkpoint))

    @classmethod
    def own_name(cls) -> str | None:
        """Return None, so this class is never matched to text models; `build_vision_model` builds it."""
        return None

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the sizes of the encoder; a sequence has one row per patch and one for the class token."""
        m = _metadata(checkpoint)
        m.choice("hidden_act", ("gelu",))
        m.refuse_features({"backbone_config": (), "is_decoder": (False,), "use_mask_token": (False,)})
        width, heads = m.integer("hidden_size"), m.integer("num_attention_heads", most=4096)
        if width % heads:
            m.refuse("num_attention_heads", f"a divisor of hidden_size, {width}", heads)
        query_bias, others = m.flag("qkv_bias", True), ("attn_output", "ffn_up", "ffn_down")
        return Config(
            from_gguf=False,
            layers=m.integer("num_hidden_layers", most=1024),
            width=width,
            heads=heads,
            kv_heads=heads,
            head_width=width // heads,
            hidden=m.integer("intermediate_size"),
            context=read_form(m).patches + 1,
            eps=m.number("layer_norm_eps", most=1.0),
            rope_base=1.0,
            rope_width=width // heads,
            rope_scaling={},
            query_width=width // heads,
            biases=dict.fromkeys(("attn_q", "attn_k", "attn_v"), query_bias) | dict.fromkeys(others, True),
        )

    @classmethod
    def canonical_name(cls, name: str) -> str:
        """Return this package's name of a safetensors tensor; its own name if there is none."""
        for own, theirs in _EMBEDDINGS.items():
            if name == theirs:
                return own
        names = {theirs: own for own, theirs in _LAYER.items()}
        if (match := _HF_LAYER.fullmatch(name)) and match[2] in names:
            return f"blk.{match[1]}.{names[match[2]]}.{match[3]}"
        return name

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the safetensors name for a tensor's canonical name."""
        if not name.startswith("blk."):
            return _EMBEDDINGS.get(name, name)
        _, layer, part, end = name.split(".")
        return f"vit.encoder.layer.{layer}.{_LAYER[part]}.{end}"

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return no rotations: positions are learned."""
        return ()

    def rotary(self, i: int) -> int:
        """Return -1: layers have no rotary embedding."""
        return -1

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the pixels of a patch."""
        c = self.config
        hidden = {"up": Buffer(c.hidden), "hidden": Buffer(c.hidden, wide=True)}
        kept = {name: buffer for name, buffer in super().buffers().items() if name != "gate"}
        return kept | hidden | {PIXELS: Buffer(self.form.pixels, wide=True)}

    def embed(self) -> None:
        """Append the sum of a position, the class token or the patches' bias, and the projection of a patch's pixels.

        The two vectors are the rows of a table for two tokens. The class token's pixels are all zero, and so is their
        projection.
        """
        c, form = self.config, self.form
        self.flatten("cls", (1, 1, c.width), (c.width,))
        self.flatten("position_embd.weight", (1, c.context, c.width), (c.context, c.width))
        patch = (c.width, form.channels, form.patch_height, form.patch_width)
        self.flatten("patch_embd.weight", patch, (c.width, form.pixels))
        rows = np.stack([self.vector("cls", c.width), self.vector("patch_embd.bias", c.width)]).astype("<f4")
        for name in ("cls", "patch_embd.bias"):
            del self.tensors[name], self.used[name]
        self.tensors[_TOKENS] = Tensor(_TOKENS, "F32", rows.shape, rows.reshape(-1).view(np.uint8))
        places = self.matrix("position_embd.weight", c.context, c.width)
        self.ops.append(Embed("x", self.matrix(_TOKENS, 2, c.width), positions=places))
        self.ops.append(AllGather(None, PIXELS, (form.pixels,)))
        product = self.matrix("patch_embd.weight", c.width, form.pixels)
        self.ops.append(Linear(PIXELS, (Target("x", product, accumulate=True),)))

    def flatten(self, name: str, shape: tuple[int, ...], flat: tuple[int, ...]) -> None:
        """Reshape a tensor."""
        tensor = self.tensor(name)
        if tensor.shape != shape:
            raise ModelError(f"{self.path}: tensor {tensor.name} has shape {tensor.shape}, expected {shape}")
        self.tensors[name] = self.used[name] = Tensor(tensor.name, tensor.kind, flat, tensor.data)

    def finish(self, tied: bool, vocabulary: int) -> None:
        """Append the last norm and the class logits."""
        self.norm("x", "normed", "output_norm.weight")
        head = self.matrix("output.weight", None, self.config.width)
        self.vector(BIAS, self.tensors[head].shape[0])
        self.ops.append(Logits("normed", head))


def _metadata(checkpoint: Checkpoint) -> Metadata:
    """Return a config.json on top of the defaults of Transformers' ViTConfig."""
    return Metadata({**_DEFAULTS, **checkpoint.metadata}, checkpoint.path)


def is_vision_model(checkpoint: Checkpoint) -> bool:
    """Return true if a checkpoint claims to be an image classifier that `build_vision_model` supports."""
    return CLASS in _classes(checkpoint)


def _classes(checkpoint: Checkpoint) -> list[str]:
    named = checkpoint.metadata.get("architectures")
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def _labels(checkpoint: Checkpoint, count: int) -> tuple[str, ...]:
    """Return the names of the classes from `id2label`; their numbers if it is missing."""
    m = _metadata(checkpoint)
    names = m.mapping("id2label") or {str(i): f"LABEL_{i}" for i in range(count)}
    if set(names) != set(map(str, range(count))) or not all(isinstance(name, str) for name in names.values()):
        m.refuse("id2label", f"a name for each of the {count} rows of classifier.weight, numbered from 0", dict(names))
    return tuple([names[str(i)] for i in range(count)])


def build_vision_model(checkpoint: Checkpoint) -> VisionModel:
    """Build the image classifier of a folder.

    Raises
    ------
    FormatError
        If there is no preprocessor_config.json, which specifies how pixels are normalised.
    ModelError
        If it is not a `ViTForImageClassification`, or a hyper-parameter or tensor is missing or has the wrong shape.
    """
    if not is_vision_model(checkpoint):
        names = _classes(checkpoint)
        ends = (need for name in names for begin, need in _OTHERS.items() if name.startswith(begin))
        lacks = next((f", which has {need}: not supported" for need in ends), "")
        found = ", ".join(names) or "none"
        raise ModelError(
            f"{checkpoint.path}: image classifiers must name {CLASS} in architectures; found {found}{lacks}"
        )
    reader = VisionTransformer(checkpoint)
    program = reader.build()
    classes = program.tensors["output.weight"].shape[0]
    return VisionModel(
        replace(program, vocabulary=classes),
        reader.form,
        read_levels(checkpoint, reader.form),
        _labels(checkpoint, classes),
    )
