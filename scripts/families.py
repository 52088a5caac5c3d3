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

The models that intact runs, from GGUF files and from folders of safetensors. Anything else is refused, not
approximated. `intact info --architectures` prints the table (`--json` for programs), and `scripts/families.py` writes
this page from the same data. A family is one file in `src/intact/models/`;
[adding things](dev/adding.md#an-architecture) says how to write another.

**How they were compared.** For each family, tiny random models with every feature of the family were run by
Transformers' own class in float64 (`benchmarks/transformers_goldens.py`). The last column is the largest difference
from the `fp32` profile's logits, relative to their range; 1e-4 would pass. Families without a class in Transformers
were compared with a class of the same formulas, which is named, or with a NumPy program. A GGUF file and a folder of
the same model give the same bits (`tests/models/test_readings.py`), except where a GGUF file stores rotary divisors in
float32 (Llama 3.x, EXAONE). The cost of the default profile's integers is in [profiles](spec/profiles.md).

| family | what it is | GGUF | config.json | compared with | difference |
|---|---|---|---|---|---|
"""
BETWEEN = """
**Limits.** Ministral 3 multiplies queries by a temperature that grows beyond its original context of 16,384 positions:
no operation does so, and the context ends there. Dynamic rotary scaling (InternLM) begins beyond
`max_position_embeddings`, where the context ends too. Llama.cpp's converter writes a context of 262,144 for Hunyuan,
whatever its config.json says; each file is taken at its word. It writes no window for Mistral. Of models that read
pictures the text part runs. DeepSeek's latent attention runs expanded: the cache holds keys and values of all heads,
not the latent rows ([numerics](spec/numerics.md#9-embedding-residual-stream-order-of-a-program)). Expert weights times
more than 3.9 are refused: DeepSeek-V2 with 236B parameters and DeepSeek-V2.5 have 16.

BERT and XLM-RoBERTa are encoders: they write no text, and what was compared are their last hidden states, of rerankers
the logits too ([embeddings](guide.md#embeddings)). GGUF files of both are `bert`, and are read as such: their programs
are the same. Of RoBERTa the classes `RobertaModel` and `RobertaForSequenceClassification` are read as XLM-RoBERTa's. A
reranker in a GGUF file has its head as `cls` and `cls.output`, as llama.cpp's converter writes RoBERTa's; BERT's own
loses its first layer there. Positions that are relative, and encoders of other families (ModernBERT, Nomic, Jina), are
refused.

Vision transformers (`ViTForImageClassification`) classify images and read no text, so that they stand in no row above:
`intact.load_classifier` reads their folders ([images](guide.md#images)). Two tiny random ones were compared with
Transformers' class in float64, of square patches and others: the logits differ by at most 1.8e-07 of their range.

Mamba-2's states take room in the cache: one for each 64 positions, so that any prefix can be shared. The norm behind a
scan is of each group of channels by itself; Falcon-H1 has one only where `mamba_rms_norm` says so. A config.json with a
bare `Infinity` (`time_step_limit`) is no JSON and refused, as are those of Nemotron-H as NVIDIA publishes them;
Transformers 5 writes it as JSON. It also bounds Nemotron-H's steps from below by `time_step_min`, which NVIDIA's
program, llama.cpp and this one do not. A layer of Nemotron-H is a state space, attention or a net; where layers are
counted, as for pipelines and steering, a net belongs to the layer before it. Nemotron 3 Super, whose experts take rows
of another width (`moe_latent_size`), is refused.
The states of Mamba, Falcon-Mamba and Jamba take room likewise, and are rounded at each position, so that prompts run
more slowly than Mamba-2's. A GGUF file of Falcon-Mamba norms dt, B and C with the epsilon of its other norms, as
llama.cpp does; a folder has one of its own (`mixer_rms_eps`). Which layers of Jamba's GGUF files have experts follows
from their tensors.

Mamba-3 is read from folders as its authors' program writes them: config.json has no `architectures`, but an `ssm_cfg`
with the layer `Mamba3`. Several inputs and outputs a head (`is_mimo`), a norm before the output projection
(`is_outproj_norm`), layers of attention and layer norms are refused, and so is every key of `ssm_cfg` that is not
known. States decay at the rate that mamba-ssm 2.3.2.post1 computes, 1 + x or 1 / (1 - x); earlier programs had a
softplus in its place, and no file says which one its model was trained with. On the two tiny models KL of the default
profile beside `fp32` is 0.0006 and 0.005 nats. There is no converter of it to GGUF.

GLM-4.5 and its successors, Ling 2.0, Arcee Trinity, dots.llm1, Solar Open, MiniMax M2 and K-EXAONE choose experts as
DeepSeek V3 does, by sigmoids with a bias each; where weights are normalised, 10^-6 is added to their sum. GGUF files of
GLM and K-EXAONE count layers that predict further tokens among their layers; these are no part of the model, but some
can draft ([prediction heads](drafting.md#prediction-heads)).

GPT-NeoX with attention and net one behind the other (`use_parallel_residual`) is refused, and so is its tanh GELU
(GPT-NeoX-20B's `gelu_fast`): GGUF files do not say which GELU they need, and are read as Pythia's, with the exact one.
MiniCPM 3's factors are not in its GGUF files: they are read as the 4B's. Helium, Code World Model and VaultGemma are
read from folders; llama.cpp has no converter of them.

Of models with pictures or sound (Gemma 3 and 4, Mistral 3, Qwen's VL models) the text part runs; towers are left aside.

BitNet b1.58 is read from folders: packed, with ternary weights of 2 bits, or with floats that become such when they are
read. BitNet quantises a product's inputs to 8 bits with one scale a row: the profile `int8_row` is nearest to that.

The MatMul-free LM's authors have a program of their own, which Transformers does not; what was compared is a program in
NumPy written from it (`tests/support/matmul_free.py`). A folder's floats become ternary when they are read, -1, 0 and 1
times the mean of their magnitudes, the head's too; what 15 bits leave of that scale is multiplied into the gain of the
norm before the product. The authors' products quantise their inputs to 8 bits with one scale a row, ours in blocks:
from the float64 program without such rounding the logits of the two tiny models are 0.0014 and 0.0025 nats away (KL) in
the profile `int8`, and those of that program with the authors' rounding 0.0016 and 0.0021. Layers with a short
convolution (`use_short_conv`) and states of another width than the model's (`expand_ratio`) are refused; the number of
heads changes nothing. No converter writes GGUF files of it: those that there are name tensors as this program does.

Gemma 4's layers have one form of cache, of the wider heads and the larger number of KV heads: keys and values of local
layers are filled up with zeros there, which takes room and changes no score. Its last layers share keys and values and
take no room. Where layers share keys or have inputs of their own (E2B, E4B), a model
runs in one process, and its layers cannot be checked one by one.

Qwen3.5 and Qwen3-Next have gated delta nets, whose states take room in the cache as Mamba-2's do. A layer that predicts
further tokens is no part of the model, whether a file holds it or not; it can draft ([prediction
heads](drafting.md#prediction-heads)). Positions of text are plain: the sections of rotary frequencies for pictures'
rows and columns (`mrope_section`) change nothing there. GGUF files of Qwen3.5 order the heads of values so that head h
reads key h mod the number of keys; they are read in that order. So a file and a folder give the same bits where the
heads' width is a multiple of the weights' blocks.

Falcon-H1's factors are multiplied into its matrices when a folder is read, in float32 and in the order of llama.cpp's
converter; those of embedding and head are operations' own. So a GGUF file in F32 has the same bits where these two are
powers of two. Folders whose matrices are quantised already (GPTQ, AWQ) are refused unless all factors are 1, as they
are in what `intact quantize` writes. Bamba's GGUF files, which bear Granite 4's name, are refused: llama.cpp's
converter orders the rows of queries and keys as if heads were rotated whole, while half of each is. Granite 4 models
without state spaces are `granite` in GGUF.

**Not there.** An architecture that cannot run is refused with what it needs:

| needed | names in files |
|---|---|
"""
END = """
RWKV-7 was left out: each channel of its state decays by itself, so that no sum over a block's rows stands for the state
as it does for delta nets, and each layer mixes neighbouring rows in six ways. Nothing but that family would use either.

Aaren, attention whose query is a learned constant (Feng et al. 2024, arXiv 2405.13956), was left out as well: there are
no language models with it. Attention as it is here computes the same function of the same keys and values. What is new
in the paper is a memory of constant size, which merges a maximum and two sums at every position; a new maximum rescales
both sums, which rounds, so that its integers would be another definition than attention's.
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
