"""Speed beside llama.cpp (llama-cpp-python), on the same file, in one run.

    python benchmarks/peers.py MODEL... [--plot speed.png] [--json]

Measured: a prompt of 512 tokens (tokens a second until the first new token is known), and one greedy stream after a
prompt of 32 (new tokens a second). Each program lives in a process of its own and they are driven in turn, so that
neither computes while the other is measured, and both meet the same moods of the machine. llama.cpp runs with the
threads, batch and flash attention that were fastest in a short run before, chosen apart for prompt and stream. Every
repetition reads another piece of wikitext-2, so that no cache of prompts can help. Medians, with minimum and maximum.

On a machine that others use, `--cpu` counts processor seconds of one thread a side instead of the time that passes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import machine, parser

clock = time.perf_counter
PROMPT, SHORT_PROMPT = 512, 32
TARGETS = {"SmolLM2-135M": {"prompt": 4.0, "stream": 1.2}, "qwen2.5-coder-0.5b": {"prompt": 2.0, "stream": 1.0}}


class IntactSide:
    """Runs in the worker process of intact."""

    def __init__(self, path: str, threads: int | None) -> None:
        import intact
        from intact import _native

        self.model = intact.load(path, threads=threads)
        info, tensors = self.model.info(), self.model.program.tensors
        self.about = {"version": intact.__version__, "tier": info["tier"], "threads": info["threads"]}
        ours, file = info["weight_bytes"], sum(t.data.nbytes for t in tensors.values())
        if "output.weight" in tensors:  # the head has a matrix of its own: one row of the embedding is read, not all
            embedding = tensors["token_embd.weight"]
            ours -= _native.convert(embedding.kind, embedding.data, *embedding.shape).nbytes
            file -= embedding.data.nbytes
        self.about |= {"bytes_a_token": ours, "file_bytes_a_token": file}

    def tokens(self, path: str, count: int) -> list[int]:
        return self.model.tokenizer.encode(Path(path).read_text()[: 12 * count], special=False, bos=False)[:count]

    def prompt(self, tokens: list[int]) -> float:
        started = clock()
        self.model.generate(tokens, max_tokens=1)
        return len(tokens) / (clock() - started)

    def stream(self, tokens: list[int], count: int) -> float:
        stamps = [clock() for _ in self.model.stream(tokens, max_tokens=count)]
        if len(stamps) < 2:
            raise SystemExit("the stream ended at once: give another --text")
        return (len(stamps) - 1) / (stamps[-1] - stamps[0])


class LlamaSide:
    """Runs in the worker process of llama.cpp, below its Python conveniences, which cost time."""

    def __init__(self, path: str) -> None:
        import llama_cpp

        self.c = llama_cpp
        self._silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._silence, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.contexts: dict[str, Any] = {}
        self.about = {
            "version": llama_cpp.__version__,
            "flags": llama_cpp.llama_print_system_info().decode().strip(" |\n"),
        }

    def open(self, name: str, threads: int, batch: int, flash: bool) -> None:
        """Make a context under a name."""
        p = self.c.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch = 1024, batch, batch
        p.n_threads = p.n_threads_batch = threads
        p.flash_attn_type = self.c.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else self.c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        p.no_perf = True
        self.contexts[name] = self.c.llama_init_from_model(self.model, p), batch

    def keep(self, names: list[str]) -> None:
        """Free all other contexts."""
        for name in set(self.contexts) - set(names):
            self.c.llama_free(self.contexts.pop(name)[0])

    def _decode(self, name: str, tokens: list[int]) -> int:
        import numpy as np

        context, size = self.contexts[name]
        for start in range(0, len(tokens), size):
            part = tokens[start : start + size]
            array = (self.c.llama_token * len(part))(*part)  # the batch only points at it
            if self.c.llama_decode(context, self.c.llama_batch_get_one(array, len(part))):
                raise SystemExit("llama_decode failed")
        logits = self.c.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, (self.vocabulary,)).argmax())

    def _clear(self, name: str) -> None:
        self.c.llama_memory_clear(self.c.llama_get_memory(self.contexts[name][0]), False)

    def prompt(self, tokens: list[int], name: str) -> float:
        self._clear(name)
        started = clock()
        self._decode(name, tokens)
        return len(tokens) / (clock() - started)

    def stream(self, tokens: list[int], count: int, name: str) -> float:
        self._clear(name)
        token = self._decode(name, tokens)
        started = clock()
        for _ in range(count - 1):
            token = self._decode(name, [token])
        return (count - 1) / (clock() - started)


def serve(side: Any) -> None:
    """Answer calls, a line of JSON each, until the input ends."""
    print(json.dumps(side.about), flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(side, name)(*arguments)), flush=True)


class Worker:
    """A side in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, __file__, "--worker", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about: dict[str, Any] = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with status {self.process.wait()}")
        return json.loads(line)

    def __call__(self, name: str, *arguments: object) -> Any:
        assert self.process.stdin is not None
        print(json.dumps([name, arguments]), file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def tune(llama: Worker, tokens: list[int], threads: set[int], tries: int) -> dict[str, dict[str, Any]]:
    """The fastest settings of llama.cpp for prompt and stream, each tried a few times in turn; they stay open."""
    best = {}
    for what, batches in (("prompt", (128, 512)), ("stream", (128,))):
        settings = {}
        for i, (count, batch, flash) in enumerate(itertools.product(sorted(threads), batches, (False, True))):
            name = f"{what} {i}"
            llama("open", name, count, batch, flash)
            settings[name] = {"name": name, "threads": count, "batch": batch, "flash_attention": flash, "rate": 0.0}
        for _, (name, setting) in itertools.product(range(tries), settings.items()):
            call = (tokens[:PROMPT],) if what == "prompt" else (tokens[:SHORT_PROMPT], 24)
            setting["rate"] = max(setting["rate"], llama(what, *call, name))
        best[what] = max(settings.values(), key=lambda setting: setting["rate"]) | {"tried": list(settings.values())}
    llama("keep", [setting["name"] for setting in best.values()])
    return best


def summary(rates: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "all": rates}


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    clock_name = "cpu" if args.cpu else "wall"
    ours = Worker("intact", clock_name, path, 1 if args.cpu else args.threads or 0)
    llama = Worker("llama", clock_name, path)
    try:
        tokens = ours("tokens", str(args.text), PROMPT * (args.repeats + 1))
        settings = tune(llama, tokens, {1} if args.cpu else {1, len(os.sched_getaffinity(0))}, args.tries)
        rates: dict[str, dict[str, list[float]]] = {}
        for repeat in range(args.repeats + 1):
            piece = tokens[PROMPT * repeat : PROMPT * (repeat + 1)]
            for name, call in (("prompt", (piece,)), ("stream", (piece[:SHORT_PROMPT], args.new_tokens))):
                for side in ("intact", "llama.cpp"):
                    rate = ours(name, *call) if side == "intact" else llama(name, *call, settings[name]["name"])
                    if repeat:  # the first round warms up
                        rates.setdefault(name, {}).setdefault(side, []).append(rate)
                    if args.progress:
                        print(f"  {repeat} {name} {side}: {rate:.1f}", file=sys.stderr, flush=True)
    finally:
        ours.close()
        llama.close()
    targets = next((v for k, v in TARGETS.items() if k in path.name), {})
    result: dict[str, Any] = {"model": path.name, "file_bytes": path.stat().st_size}
    result |= {"intact": ours.about, "llama.cpp": llama.about, "llama.cpp_settings": settings}
    for name, sides in rates.items():
        pairs = [a / b for a, b in zip(sides["intact"], sides["llama.cpp"], strict=True)]
        result[name] = {side: summary(values) for side, values in sides.items()} | {
            "ratio": statistics.median(sides["intact"]) / statistics.median(sides["llama.cpp"]),
            "ratio_range": [min(pairs), max(pairs)],
            "target": targets.get(name),
        }
    return result


def plot(results: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    titles = {"prompt": f"prompt of {PROMPT}", "stream": "one stream"}
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for shift, side, colour in ((-0.2, "intact", "#1f6f8b"), (0.2, "llama.cpp", "#c9a35b")):
            found = [r[name][side] for r in results]
            medians = [f["median"] for f in found]
            spread = [[f["median"] - f["min"] for f in found], [f["max"] - f["median"] for f in found]]
            places = [i + shift for i in range(len(results))]
            bars = axis.bar(places, medians, 0.38, yerr=spread, capsize=3, color=colour, label=side)
            axis.bar_label(bars, fmt="{:.0f}", padding=2)
        labels = [f"{Path(r['model']).stem.replace('-instruct', '')}\n{r[name]['ratio']:.2f} x" for r in results]
        axis.set_xticks(range(len(results)), labels, fontsize=8)
        axis.set_ylabel("tokens a second")
        axis.set_title(title)
        axis.margins(y=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def report(results: list[dict[str, Any]]) -> None:
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, Python {about['python']}")
    first = results[0]
    ours, theirs = first["intact"], first["llama.cpp"]
    print(f"intact {ours['version']}: tier {ours['tier']}, {ours['threads']} threads")
    print(f"llama-cpp-python {theirs['version']}: {theirs['flags']}\n")
    print(
        "| model | what | intact, tokens a second | llama.cpp | ratio (least to most) | asked for "
        "| llama.cpp's settings |"
    )
    print("|---|---|---|---|---|---|---|")
    for r in results:
        for name in ("prompt", "stream"):
            m, s = r[name], r["llama.cpp_settings"][name]
            sides = [f"{m[k]['median']:.1f} ({m[k]['min']:.1f} to {m[k]['max']:.1f})" for k in ("intact", "llama.cpp")]
            low, high = m["ratio_range"]
            ratio = f"{m['ratio']:.2f} ({low:.2f} to {high:.2f}) | {m['target'] or ''}"
            flash = "on" if s["flash_attention"] else "off"
            setting = f"{s['threads']} threads, batch {s['batch']}, flash attention {flash}"
            print(f"| {r['model']} | {name} | {' | '.join(sides)} | {ratio} | {setting} |")
    print("\n| model | file, bytes a token | intact's form, bytes a token | stream, GB/s: intact | llama.cpp |")
    print("|---|---|---|---|---|")
    for r in results:
        a, b = r["intact"]["bytes_a_token"], r["intact"]["file_bytes_a_token"]
        speeds = [r["stream"][side]["median"] * size / 1e9 for side, size in (("intact", a), ("llama.cpp", b))]
        print(f"| {r['model']} | {b:,} | {a:,} | {speeds[0]:.1f} | {speeds[1]:.1f} |")


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        global clock
        side, clock_name, path, *rest = sys.argv[2:]
        clock = time.process_time if clock_name == "cpu" else time.perf_counter
        serve(IntactSide(path, int(rest[0]) or None) if side == "intact" else LlamaSide(path))
        return
    p = parser(__doc__)
    p.add_argument("--repeats", type=int, default=7)
    p.add_argument("--tries", type=int, default=3, help="tries of each setting of llama.cpp")
    p.add_argument("--new-tokens", type=int, default=96, help="tokens of the stream")
    p.add_argument("--threads", type=int, help="threads of intact (default: its own choice)")
    p.add_argument("--cpu", action="store_true", help="processor seconds of one thread a side")
    p.add_argument("--plot", type=Path, metavar="FILE", help="save a plot")
    p.add_argument("--json", action="store_true")
    p.add_argument("--progress", action="store_true", help="print every measurement")
    args = p.parse_args()
    results = [measure(path, args) for path in args.models]
    if args.plot:
        plot(results, args.plot)
    if args.json:
        print(json.dumps({"machine": machine(), "results": results}, indent=2))
    else:
        report(results)


if __name__ == "__main__":
    main()
