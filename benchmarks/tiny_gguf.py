"""Write the folder of `tiny_model.py` as a GGUF file in F32, for programs that read nothing else.

    python benchmarks/tiny_gguf.py FOLDER tiny.gguf

Names and the order of query and key rows are those of llama.cpp's converter for Llama, which places the two halves of a
head's rotary pairs next to each other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from gguf import TensorNameMap
from safetensors.numpy import load_file


def interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Return the rows of each head with pairs side by side: rows (i, i + half) become (2i, 2i + 1)."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write(folder: Path, out: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    layers, heads, kv_heads = (config[f"num_{k}"] for k in ("hidden_layers", "attention_heads", "key_value_heads"))
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    special = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in vocabulary]
    writer.add_token_list(vocabulary)
    writer.add_token_types(kinds)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    )
    end = next(iter(special.values()))
    writer.add_eos_token_id(end)
    writer.add_bos_token_id(end)
    writer.add_add_bos_token(False)
    names = TensorNameMap(gguf.MODEL_ARCH.LLAMA, layers)
    for name, tensor in load_file(folder / "model.safetensors").items():
        count = heads if "q_proj" in name else kv_heads if "k_proj" in name else 0
        found = names.get_name(name, try_suffixes=(".weight",))
        if found is None:
            raise SystemExit(f"{name}: there is no GGUF name for this tensor")
        writer.add_tensor(found, interleaved(tensor, count) if count else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    write(options.folder, options.out)


if __name__ == "__main__":
    main()
