"""Train a tiny Llama in float32 on local text: a float source for `intact lab` whose weights were never on a grid.

    python benchmarks/tiny_model.py FOLDER [--ternary | --phases] [--steps N]

It needs torch and tokenizers. The folder gets `config.json`, `tokenizer.json` and `model.safetensors`, and every
command of intact accepts it. Training data are wikitext-2's validation text, C4's excerpt and the questions of GSM8K
under INTACT_DATA; wikitext-2's test text is left for the lab. Training is not bit-identical on another machine, so the
printed digest distinguishes models.

--ternary trains by the rule of Spectra's TriLM (arXiv 2407.12327): products use g round(clip(W / g, -1, 1)) with
g = mean |W| of the matrix, gradients pass straight through to W, and the ternary matrix is written.

--phases trains by the rule of iFairy (PKULab1806/Fairy-plus-minus-i): the halves of a product's inputs form a complex
vector x, those of its outputs another, and the product is U x with elements of U in {r, i s, -r, -i s}, by their phase;
r is the mean |real part| of those that became real, s the mean |imaginary part| of the others. Everything else is the
real Llama's, whereas iFairy's attention, norms and embeddings are complex. The real form of U is written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional

from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.safetensors import Stored, write_safetensors
from intact.models import build_program
from intact.receipts.identity import measure

DATA = Path(os.environ.get("INTACT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")).expanduser()
VOCABULARY, WIDTH, LAYERS, HEADS, KV_HEADS, HIDDEN, CONTEXT = 2048, 256, 5, 8, 4, 768, 256
HEAD, THETA, EPSILON = WIDTH // HEADS, 10000.0, 1e-5
END = "<|endoftext|>"
EPS = 1e-5
"""TriLM's epsilon, added to mean |W|."""


def texts() -> list[str]:
    """Yield the training documents."""
    documents = [(DATA / "wikitext2" / "valid.txt").read_text("utf-8")]
    documents += [one["text"] for one in json.loads((DATA / "c4" / "c4_demo.json").read_text("utf-8"))]
    with (DATA / "gsm8k" / "train.jsonl").open(encoding="utf-8") as lines:
        documents += [f"{row['question']}\n{row['answer']}" for row in map(json.loads, lines)]
    return documents


def train_tokenizer(documents: list[str]) -> tokenizers.Tokenizer:
    """Train a byte-level BPE tokenizer."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


class Matrix(nn.Linear):
    """A product without a bias; its weights are ternary or have four phases if the model does."""

    def __init__(self, inputs: int, outputs: int, weights: str) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.weights = weights
        nn.init.normal_(self.weight, std=0.02)

    def both(self) -> tuple[Tensor, Tensor]:
        """Return the trained matrix, and the one that multiplies."""
        if self.weights == "float":
            return self.weight, self.weight
        if self.weights == "phases":
            whole = complex_part(self.weight)
            return real_form(*whole), real_form(*phases(*whole))
        scale = self.weight.abs().mean() + EPS
        return self.weight, torch.round(torch.clamp(self.weight / scale, -1, 1)) * scale

    def forward(self, x: Tensor) -> Tensor:
        trained, used = self.both()
        return functional.linear(x, trained + (used - trained).detach())


def complex_part(a: Tensor) -> tuple[Tensor, Tensor]:
    """Return the real and the imaginary part of U, where A x = U x + W conj(x)."""
    (a11, a12), (a21, a22) = (half.chunk(2, dim=1) for half in a.chunk(2, dim=0))
    return (a11 + a22) / 2, (a21 - a12) / 2


def phases(re: Tensor, im: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest complex matrix whose elements have the phases of 1, i, -1 and -i."""
    real = re.abs() >= im.abs()
    first = torch.where(real, re.sign() * re[real].abs().mean(), 0)
    return first, torch.where(real, 0, im.sign() * im[~real].abs().mean())


def real_form(re: Tensor, im: Tensor) -> Tensor:
    """Return the real matrix that is equivalent to a complex one."""
    return torch.cat((torch.cat((re, -im), dim=1), torch.cat((im, re), dim=1)), dim=0)


class Norm(nn.Module):
    """A root-mean-square norm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


class Layer(nn.Module):
    """Attention with rotary positions, and SwiGLU."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()
        narrow = KV_HEADS * HEAD
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": Matrix(WIDTH, WIDTH, weights),
                "k_proj": Matrix(WIDTH, narrow, weights),
                "v_proj": Matrix(WIDTH, narrow, weights),
                "o_proj": Matrix(WIDTH, WIDTH, weights),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": Matrix(WIDTH, HIDDEN, weights),
                "up_proj": Matrix(WIDTH, HIDDEN, weights),
                "down_proj": Matrix(HIDDEN, WIDTH, weights),
            }
        )

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        def heads(y: Tensor) -> Tensor:
            return y.view(*x.shape[:2], -1, HEAD).transpose(1, 2)

        def turned(y: Tensor) -> Tensor:
            first, second = y.chunk(2, dim=-1)
            return y * cos + torch.cat((-second, first), dim=-1) * sin

        a, m, normed = self.self_attn, self.mlp, self.input_layernorm(x)
        q, k = turned(heads(a["q_proj"](normed))), turned(heads(a["k_proj"](normed)))
        k, v = (y.repeat_interleave(HEADS // KV_HEADS, dim=1) for y in (k, heads(a["v_proj"](normed))))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + a["o_proj"](y.transpose(1, 2).reshape(x.shape))
        normed = self.post_attention_layernorm(x)
        return x + m["down_proj"](functional.silu(m["gate_proj"](normed)) * m["up_proj"](normed))


class Llama(nn.Module):
    """A Llama whose parameters have the names of Transformers' LlamaForCausalLM after `model.`."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, WIDTH)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(weights) for _ in range(LAYERS))
        self.norm = Norm()
        angles = torch.outer(torch.arange(CONTEXT), THETA ** (-torch.arange(0, HEAD, 2) / HEAD)).repeat(1, 2)
        self.cos, self.sin = angles.cos(), angles.sin()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return functional.linear(self.norm(x), self.embed_tokens.weight)


def train(model: Llama, tokens: Tensor, steps: int, batch: int, rate: float) -> float:
    """Train with AdamW, warm-up and a cosine schedule; return the loss of the last 50 steps in nats."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
    draw, began, losses = torch.Generator().manual_seed(1), time.monotonic(), list[float]()
    for step in range(steps):
        share = step / steps
        now = rate * min(1.0, (step + 1) / 50) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = now
        starts = torch.randint(0, len(tokens) - CONTEXT - 1, (batch,), generator=draw).tolist()
        x = torch.stack([tokens[i : i + CONTEXT + 1] for i in starts])
        loss = functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 49:
            pace = (time.monotonic() - began) / (step + 1)
            print(f"step {step + 1} of {steps}  loss {sum(losses[-50:]) / 50:.3f}  {pace:.2f} s a step", flush=True)
    return sum(losses[-50:]) / len(losses[-50:])


def write(model: Llama, tokenizer: tokenizers.Tokenizer, folder: Path, about: dict[str, str]) -> None:
    """Write the folder."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "head_dim": HEAD,
        "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT,
        "rope_theta": THETA, "rms_norm_eps": EPSILON, "hidden_act": "silu", "tie_word_embeddings": True,
        "torch_dtype": "float32", "eos_token_id": tokenizer.token_to_id(END),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    about_tokens = {"eos_token": END, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about_tokens) + "\n", "utf-8")
    matrices = {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, Matrix)}
    data = {
        f"model.{name}": (matrices[name].both()[1] if name in matrices else value).detach().contiguous().numpy()
        for name, value in model.named_parameters()
    }
    stored = [Stored(name, "F32", value.shape, value.nbytes) for name, value in data.items()]
    write_safetensors(folder / "model.safetensors", stored, lambda name: data[name].astype("<f4").tobytes(), about)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, help="folder to create")
    kinds = p.add_mutually_exclusive_group()
    kinds.add_argument(
        "--ternary", action="store_const", dest="weights", const="ternary", help="train ternary matrices"
    )
    kinds.add_argument("--phases", action="store_const", dest="weights", const="phases", help="train complex phases")
    p.set_defaults(weights="float")
    p.add_argument("--steps", type=int, default=1500)
    p.add_argument("--batch", type=int, default=8, help=f"windows of {CONTEXT} tokens a step (default 8)")
    p.add_argument("--rate", type=float, default=2e-3, help="maximum learning rate (default 0.002)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int)
    args = p.parse_args()
    if args.folder.exists():
        p.error(f"{args.folder} exists already")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    documents = texts()
    tokenizer = train_tokenizer(documents)
    end = tokenizer.token_to_id(END)
    ids = [token for one in tokenizer.encode_batch(documents) for token in [*one.ids, end]]
    model = Llama(args.weights)
    weights = sum(value.numel() for value in model.parameters())
    print(f"{weights:,} weights, {len(ids):,} tokens of text", flush=True)
    loss = train(model, torch.tensor(ids), args.steps, args.batch, args.rate)
    about = {"steps": str(args.steps), "weights": args.weights, "loss": f"{loss:.4f}"}
    write(model, tokenizer, args.folder, about)
    with open_checkpoint(args.folder) as checkpoint:
        print(f"loss {loss:.4f}  weights {measure(build_program(checkpoint)).root.hex()}")


if __name__ == "__main__":
    main()
