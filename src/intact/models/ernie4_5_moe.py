"""ERNIE 4.5 with experts: chosen by a softmax with biases, plus shared experts (ERNIE 4.5 technical report, 2025)."""

from __future__ import annotations

from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.ernie4_5 import Ernie45
from intact.models.mixtures import CHOICE_BIAS, MixtureForm
from intact.models.names import HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERTS


class Ernie45Moe(Ernie45):
    """The best experts of a row share its weight; the first layers have ordinary feed-forward networks."""

    gguf = "ernie4_5-moe"
    hf = ("Ernie4_5_MoeForCausalLM",)
    hf_names = HF_NAMES | HF_EXPERTS | HF_SHARED_EXPERTS
    hf_bare = {"mlp.moe_statics.e_score_correction_bias": f"{CHOICE_BIAS}.bias"}
    hf_defaults = {
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "moe_k": 6,
        "moe_num_experts": 64,
        "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1,
    }
    hf_aliases = {"num_experts_per_tok": "moe_k"}
    hf_refused = Ernie45.hf_refused | {"moe_layer_interval": (1,)}
    mixture = MixtureForm(
        "softmax of chosen",
        "moe_num_experts",
        "moe_intermediate_size",
        hf_dense="moe_layer_start_index",
        hf_bias="moe_use_aux_free",
        hf_shared_count="moe_num_shared_experts",
    )
    sample = {
        "expert_count": 6,
        "expert_used_count": 2,
        "expert_shared_count": 2,
        "expert_feed_forward_length": 64,
        "leading_dense_block_count": 1,
    }

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration; experts per row have their own key, and the last layer must have experts."""
        last = m.integer("num_hidden_layers", most=1024) - 1
        m.refuse_features({"moe_layer_end_index": (-1, last)})
        return super().read_hf(Metadata({**m.values, "num_experts_per_tok": m.get("moe_k")}, m.source))

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Split fused tensors, and flatten the experts' biases if they are two-dimensional in the file."""
        ends = (f".{CHOICE_BIAS}.bias", *cls.hf_bare)
        tensors = {
            name: Tensor(name, tensor.kind, tensor.shape[1:], tensor.data)
            if name.endswith(ends) and tensor.shape[:1] == (1,)
            else tensor
            for name, tensor in checkpoint.tensors.items()
        }
        return super().split(Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors), config)
