#!/usr/bin/env python3
"""Write docs/families.md: the supported architectures, how each was compared, and what unsupported ones need.

    scripts/families.py [--check]

The page has the contents of `intact info --architectures --json`. With --check nothing is written; the exit status is 1
if the page would change. `tests/models/test_descriptions.py` checks the same.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from intact.models.descriptions import ArchitectureDescription, describe_architectures
from intact.models.needs import NEEDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "families.md"
BEGIN = """\
# Model families

intact runs the models below, from GGUF files and from folders of safetensors. Other architectures are refused, not
approximated. `intact info --architectures` prints this table (`--json` for programs), and `scripts/families.py` writes
this page from the same data. Each family is one file in `src/intact/models/`; [adding
things](dev/adding.md#an-architecture) explains how to write another.

**How they were compared.** For each family, we ran tiny random models that have all features of the family with
Transformers' own class in float64 (`benchmarks/transformers_goldens.py`). The last column is the largest difference
from the logits of the `fp32` profile, relative to their range; up to 1e-4 is accepted. Families without a class in
Transformers were compared with a class that uses the same formulas, which the table names, or with a NumPy program. A
GGUF file and a folder of the same model give the same bits (`tests/models/test_readings.py`), except where a GGUF file
stores rotary divisors in float32 (Llama 3.x, EXAONE). [Profiles](spec/profiles.md) gives the cost of the default
profile's integer arithmetic.

| family | what it is | GGUF | config.json | compared with | difference |
|---|---|---|---|---|---|
"""
BETWEEN = """
**Limits.** Ministral 3 multiplies queries by a temperature that grows beyond its original context of 16,384 positions.
This is not implemented, so the context ends there. Dynamic rotary scaling (InternLM) begins beyond
`max_position_embeddings`, where the context ends too. llama.cpp's converter writes a context of 262,144 for Hunyuan,
regardless of config.json, and no window for Mistral; intact uses what each file says. DeepSeek's latent attention runs
in expanded form: the cache stores the keys and values of all heads, not the latent rows
([numerics](spec/numerics.md#9-embedding-residual-stream-order-of-a-program)). Models that multiply expert weights by
more than 3.9 are refused; DeepSeek-V2 (236B parameters) and DeepSeek-V2.5 multiply them by 16.

BERT and XLM-RoBERTa are encoders and do not generate text. We compared their last hidden states and, for rerankers, the
logits ([embeddings](guide.md#embeddings)). GGUF files of both have the architecture `bert` and are read as BERT, since
the programs are the same. RoBERTa's classes `RobertaModel` and `RobertaForSequenceClassification` are read like
XLM-RoBERTa's. In a GGUF file, a reranker's head is stored as `cls` and `cls.output`, as llama.cpp's converter does for
RoBERTa; for BERT, it drops the head's first layer. Encoders with relative positions, and those of other families
(ModernBERT, Nomic, Jina), are refused.

Vision transformers (`ViTForImageClassification`) classify images and read no text, so they are not in the table:
`intact.load_classifier` reads their folders ([images](guide.md#images)). We compared two tiny random ones, with square
and non-square patches, with Transformers' class in float64: the logits differ by at most 1.8e-07 of their range.

Mamba-2's states are stored in the cache, one for every 64 positions, so that any prefix can be shared. The norm after a
scan applies to each group of channels separately; Falcon-H1 has one only if `mamba_rms_norm` is set. A config.json with
a bare `Infinity` (`time_step_limit`) is not valid JSON and is refused, including NVIDIA's own files for Nemotron-H;
Transformers 5 writes the value as JSON. Transformers 5 also uses `time_step_min` as a lower bound for Nemotron-H's
steps; NVIDIA's program, llama.cpp and intact do not. A layer of Nemotron-H is a state space, attention or a
feed-forward network; where layers are counted, as for pipelines and steering, a feed-forward network belongs to the
layer before it. Nemotron 3 Super is refused, since its experts use rows of a different width (`moe_latent_size`).

The states of Mamba, Falcon-Mamba and Jamba are stored in the cache in the same way, but are rounded at each position,
so prompts run more slowly than with Mamba-2. In GGUF files of Falcon-Mamba, the norms of dt, B and C use the same
epsilon as the other norms, as in llama.cpp; in folders they have their own (`mixer_rms_eps`). In GGUF files of Jamba,
the tensors determine which layers have experts.

Mamba-3 is read from folders in its authors' format, where config.json has no `architectures`, but an `ssm_cfg` with the
layer `Mamba3`. Heads with several inputs and outputs (`is_mimo`), a norm before the output projection
(`is_outproj_norm`), attention layers, layer norms and unknown keys in `ssm_cfg` are refused. States decay at the rate
that mamba-ssm 2.3.2.post1 computes, 1 + x or 1 / (1 - x); earlier versions used a softplus instead, and files do not
say which one a model was trained with. For the two tiny models, the KL divergence of the default profile from `fp32` is
0.0006 and 0.005 nats. llama.cpp has no converter for Mamba-3.

GLM-4.5 and its successors, Ling 2.0, Arcee Trinity, dots.llm1, Solar Open, MiniMax M2 and K-EXAONE choose experts as
DeepSeek V3 does, with sigmoids and a bias for each expert; if weights are normalised, 10^-6 is added to their sum. GGUF
files of GLM and K-EXAONE count layers that predict additional tokens as layers of the model. They are not part of it,
but some can be used for drafting ([prediction heads](drafting.md#prediction-heads)).

GPT-NeoX models that run attention and feed-forward network in sequence (no `use_parallel_residual`) are refused, and so
is the tanh GELU (`gelu_fast` in GPT-NeoX-20B). GGUF files do not say which GELU they need, so they are run with
Pythia's, the exact one. GGUF files of MiniCPM 3 lack its scaling factors, so those of the 4B model are used. Helium,
Code World Model and VaultGemma are read from folders; llama.cpp has no converter for them.

For models with images or sound (Gemma 3 and 4, Mistral 3, Qwen's VL models), only the text model runs; the other towers
are ignored.

BitNet b1.58 is read from folders, either with packed 2-bit ternary weights or with floats that are made ternary on
loading. BitNet quantises the inputs of each product to 8 bits with one scale per row; the closest profile is
`int8_row`.

The MatMul-free LM has a program by its authors but no class in Transformers, so we compared it with a NumPy program
based on theirs (`tests/support/matmul_free.py`). When a folder is read, its floats become ternary: -1, 0 or 1 times the
mean of their magnitudes, including the head's. The scales are rounded to 15 bits, and the gain of the norm before each
product corrects the rounding. The authors' products quantise their inputs to 8 bits with one scale per row; ours use
one per block. For the two tiny models, the logits' KL divergence from the float64 program without this rounding is
0.0014 and 0.0025 nats in the profile `int8`, and 0.0016 and 0.0021 for that program with the authors' rounding. Layers
with a short convolution (`use_short_conv`) and states with a different width from the model's (`expand_ratio`) are
refused; the number of heads has no effect. llama.cpp has no converter; GGUF files must use intact's tensor names.

Gemma 4's layers all use the same cache layout, with the larger head size and the larger number of KV heads. Keys and
values of local layers are padded with zeros, which takes memory but changes no score. Its last layers share keys and
values and take no memory. If layers share keys or have their own inputs (E2B, E4B), a model runs only in a single
process, and its layers cannot be verified individually.

Qwen3.5 and Qwen3-Next have gated delta nets, whose states are stored in the cache like Mamba-2's. A layer that predicts
additional tokens is not part of the model, even if the file contains one, but it can be used for drafting ([prediction
heads](drafting.md#prediction-heads)). Text uses ordinary positions: the sections of rotary frequencies for the rows and
columns of images (`mrope_section`) have no effect. GGUF files of Qwen3.5 order the value heads so that head h reads key
h mod the number of keys, and are read in that order. A file and a folder therefore give the same bits if the head size
is a multiple of the block size of the weights.

When a folder of Falcon-H1 is read, its factors are multiplied into its matrices, in float32 and in the same order as in
llama.cpp's converter; the factors of the embedding and the head are separate operations. A GGUF file in F32 therefore
has the same bits if these two factors are powers of two. Folders with matrices that are already quantised (GPTQ, AWQ)
are refused unless all factors are 1, as they are in the output of `intact quantize`. Bamba's GGUF files, which use
Granite 4's architecture name, are refused: llama.cpp's converter orders the rows of queries and keys as if whole heads
were rotated, but only half of each head is. Granite 4 models without state spaces have the architecture `granite` in
GGUF files.

**Not supported.** An architecture that cannot run is refused with an error that says what it needs:

| needed | names in files |
|---|---|
"""
END = """
We left out RWKV-7: each channel of its state decays separately, so the state cannot be computed from sums over the rows
of a block, as it can for delta nets, and each layer mixes neighbouring rows in six ways. No other family would use
either.

We also left out Aaren, a form of attention whose query is a learned constant (Feng et al. 2024, arXiv 2405.13956),
because no language models use it. intact's attention computes the same function of the same keys and values. What is
new in the paper is a memory of constant size, which merges a maximum and two sums at every position. Each new maximum
rescales both sums, which rounds them, so its integers would differ from attention's.
"""


def row(one: ArchitectureDescription) -> str:
    """Return a family's row of the table."""
    what = f"{one.summary}; {one.source}" if one.source else one.summary
    compared = one.compared
    classes = "-" if compared is None else ", ".join((compared.program, *(f"`{name}`" for name in compared.classes)))
    difference = "-" if compared is None else f"{compared.difference:.1e}"
    names = ", ".join(f"`{name}`" for name in one.hf)
    return f"| {one.title} | {what} | `{one.gguf}` | {names} | {classes} | {difference} |\n"


def page() -> str:
    """Return the page."""
    needs = defaultdict(list)
    for name, need in NEEDS.items():
        needs[need].append(f"`{name}`")
    own = sorted(
        (one for one in describe_architectures() if one.origin == "intact"), key=lambda one: one.title.casefold()
    )
    rows = "".join(map(row, own))
    lacking = "".join(f"| {need} | {', '.join(names)} |\n" for need, names in needs.items())
    return BEGIN + rows + BETWEEN + lacking + END


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page would change")
    check = parser.parse_args().check
    if check:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
