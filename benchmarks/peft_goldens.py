"""Create PEFT adapters of the tiny models in tests/support/variants, and logits for tests/models/test_adapters.py.

    python benchmarks/peft_goldens.py     # needs torch, transformers and peft

The logits are float64 with the adapter, at some positions and tokens; `far` is their largest distance from those of
the model without it.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.folders import write_folder  # noqa: E402
from support.variants import VARIANTS  # noqa: E402
from support.variants.form import TOKENS  # noqa: E402

FOLDER = ROOT / "tests" / "models" / "adapters"
POSITIONS, EVERY = (0, 7, 8, 31, 39), 8
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"r": 8, "lora_alpha": 16, "target_modules": LINEAR},
    "qwen2": {
        "r": 4, "lora_alpha": 8, "target_modules": LINEAR[:3], "use_rslora": True,
        "alpha_pattern": {"v_proj": 3}, "rank_pattern": {"v_proj": 2},
    },
    "phi3": {"r": 5, "lora_alpha": 10, "target_modules": ["qkv_proj", "gate_up_proj", "down_proj"]},
    "gemma3": {"r": 8, "lora_alpha": 4, "target_modules": [*LINEAR[:2], "down_proj"]},
}  # fmt: skip


def main() -> None:
    """Write all adapters and logits."""
    import peft
    import torch
    import transformers

    goldens: dict[str, Any] = {"made by": f"PEFT {peft.__version__}, Transformers {transformers.__version__}"}
    with tempfile.TemporaryDirectory() as work:
        for name, config in CONFIGS.items():
            base = write_folder(Path(work) / name, VARIANTS[name], name)
            load = transformers.AutoModelForCausalLM.from_pretrained
            model = load(base, dtype=torch.float64, attn_implementation="eager").eval()
            with torch.no_grad():
                plain = model(torch.tensor([TOKENS])).logits[0].numpy()
            torch.manual_seed(7)
            adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **config)).eval()
            for key, values in adapted.named_parameters():
                if ".lora_" in key:
                    values.data = (torch.randn(values.shape) / (4 if "lora_B" in key else 2)).to(torch.float32).double()
            with torch.no_grad():
                logits = adapted(torch.tensor([TOKENS])).logits[0].numpy()
            folder = FOLDER / name
            shutil.rmtree(folder, ignore_errors=True)
            adapted.float().save_pretrained(folder)
            (folder / "README.md").unlink(missing_ok=True)
            part = logits[np.ix_(POSITIONS, range(0, logits.shape[1], EVERY))]
            goldens[name] = {
                "range": round(float(np.ptp(logits)), 4),
                "far": round(float(np.abs(logits - plain).max()), 4),
                "logits": [[round(float(x), 6) for x in row] for row in part],
            }
    text = json.dumps({"positions": POSITIONS, "every": EVERY, **goldens}, indent=1)
    (FOLDER / "goldens.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
