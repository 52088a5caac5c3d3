"""peers.py's side of Transformers (PyTorch), on the file's weights dequantised."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"  # read when transformers is imported
import torch
import transformers
from peers_worker import serve
from transformers.generation.streamers import BaseStreamer


class Stamps(BaseStreamer):
    """Notes when tokens come: first the prompt, then each new one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.times = clock, list[float]()

    def put(self, value: Any) -> None:
        self.times.append(self.clock())

    def end(self) -> None:
        pass


class TransformersSide:
    def __init__(self, path: str, threads: int, clock: Callable[[], float]) -> None:
        torch.set_num_threads(threads)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.clock = clock
        file = Path(path)
        # bfloat16 where the processor multiplies it: half the bytes of float32, and the faster of the two there
        kind = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
        load = transformers.AutoModelForCausalLM.from_pretrained
        self.model = load(str(file.parent), gguf_file=file.name, dtype=kind).eval()
        self.about: dict[str, Any] = {
            "version": transformers.__version__,
            "threads": threads,
            "settings": {
                "all": f"PyTorch {torch.__version__}, weights dequantised to {str(kind).removeprefix('torch.')}"
            },
        }

    def _generate(self, tokens: list[int], count: int, n: int = 1, streamer: Stamps | None = None) -> float:
        ids = torch.tensor([tokens])
        drawing = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": n}
        start = self.clock()
        with torch.inference_mode():
            self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                min_new_tokens=count,
                max_new_tokens=count,
                pad_token_id=0,
                streamer=streamer,
                **(drawing if n > 1 else {"do_sample": False}),
            )
        return self.clock() - start

    def prompt(self, tokens: list[int]) -> dict[str, float]:
        return {"tokens": len(tokens), "seconds": self._generate(tokens, 1)}

    def stream(self, tokens: list[int], count: int) -> dict[str, float]:
        stamps = Stamps(self.clock)
        self._generate(tokens, count, streamer=stamps)
        return {"tokens": count - 1, "seconds": stamps.times[-1] - stamps.times[1]}

    def samples(self, tokens: list[int], n: int, count: int) -> dict[str, float]:
        return {"tokens": n * count, "seconds": self._generate(tokens, count, n)}


if __name__ == "__main__":
    serve(TransformersSide)
