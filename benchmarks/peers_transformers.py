"""The Transformers (PyTorch) side of peers.py, on the file's dequantised weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers_scores import Scores, groups
from peers_worker import serve
from transformers_engine import open_model, torch, transformers


class Stamps(transformers.generation.BaseStreamer):
    """Records the arrival times of tokens: first the prompt, then each new one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.times = clock, list[float]()

    def put(self, value: Any) -> None:
        self.times.append(self.clock())

    def end(self) -> None:
        pass


class TransformersSide(Scores):
    def __init__(
        self, path: str, threads: int, clock: Callable[[], float], dtype: str | None = None, chunk: int = 512
    ) -> None:
        self.clock, self.chunk = clock, chunk
        # bfloat16 if the processor multiplies it natively: half the bytes of float32, and faster there
        fast = "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"
        kind = getattr(torch, dtype or fast)
        self.model = open_model(Path(path), kind, threads)
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

    def logits(self, tokens: list[int], first: int) -> NDArray[np.float32]:
        with torch.inference_mode():
            found = self.model(torch.tensor([tokens]), use_cache=False, logits_to_keep=len(tokens) - first)
        return found.logits[0].float().numpy()

    def outputs(self, prompts: list[list[int]], count: int, together: int) -> list[list[int]]:
        """Generate answers; prompts of a group are left-padded to one length, as Transformers requires."""
        ends = self.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        found = []
        for some in groups(prompts, together):
            width = max(map(len, some))
            ids = torch.tensor([[0] * (width - len(tokens)) + tokens for tokens in some])
            mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in some])
            with torch.inference_mode():
                out = self.model.generate(
                    ids,
                    attention_mask=mask,
                    max_new_tokens=count,
                    do_sample=False,
                    pad_token_id=0,
                    prefill_chunk_size=self.chunk if self.chunk < width else None,
                )
            for row in out[:, width:].tolist():
                found.append(row[: next((i for i, token in enumerate(row) if token in ends), len(row))])
        return found

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
