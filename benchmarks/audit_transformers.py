"""Generate Transformers logs for audit.py: `generate` on the CPU, one response at a time, each with its own seed.

    python benchmarks/audit_transformers.py MODEL.gguf SETTINGS < prompts.jsonl > log.jsonl

SETTINGS is a JSON object: temperature, top_k, top_p, seed, max_tokens, dtype. The file's weights are dequantised to
dtype (float32).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers_engine import open_model, torch, transformers


def main() -> None:
    path, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    model = open_model(path, getattr(torch, settings.get("dtype", "float32")), settings.get("threads", 1))
    names = ("temperature", "top_k", "top_p")
    drawing = {"do_sample": True, **{name: settings[name] for name in names}} if settings["temperature"] else {}
    for i, line in enumerate(map(json.loads, sys.stdin)):
        ids = torch.tensor([line["prompt_tokens"]])
        torch.manual_seed(settings["seed"] + i)
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=settings["max_tokens"],
                pad_token_id=0,
                **(drawing or {"do_sample": False}),
            )
        told = {name: settings[name] for name in names} | {"seed": settings["seed"] + i}
        engine = {"engine": "transformers", "engine_version": f"{transformers.__version__}, torch {torch.__version__}"}
        tokens = out[0, ids.shape[1] :].tolist()
        print(json.dumps({**line, **engine, **told, "output_tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
