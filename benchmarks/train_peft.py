"""Compare exported adapters with PEFT: logits of tiny models in float64, and in the profiles fp32 and int8.

    python benchmarks/train_peft.py     # needs torch, transformers and peft

Each line has the range of PEFT's logits and, as shares of it, the largest distance of both profiles and of the model
without the adapter.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import intact
from intact.train.base import Base
from intact.train.export import export

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.folders import write_folder  # noqa: E402
from support.training import random_run  # noqa: E402
from support.variants import VARIANTS  # noqa: E402
from support.variants.form import TOKENS  # noqa: E402

NAMES = ("llama", "qwen2", "gemma3", "phi3")


def main() -> None:
    """Print a line per model."""
    import peft
    import torch
    import transformers

    print(f"PEFT {peft.__version__}, Transformers {transformers.__version__}")
    for name in NAMES:
        with tempfile.TemporaryDirectory() as work:
            model, adapter = write_folder(Path(work) / name, VARIANTS[name], name), Path(work) / "adapter"
            with Base.open(model) as base:
                export(random_run(base), base, adapter)
            load = transformers.AutoModelForCausalLM.from_pretrained
            whole = load(model, dtype=torch.float64, attn_implementation="eager").eval()
            with torch.no_grad():
                logits = peft.PeftModel.from_pretrained(whole, adapter).double().eval()(torch.tensor([TOKENS])).logits
            expected, found = logits[0].numpy(), {}
            for label, profile, own in (("fp32", "fp32", "a"), ("int8", "int8", "a"), ("without", "fp32", "")):
                with intact.load(model, profile=profile, adapters={"a": adapter}, adapter=own or None) as loaded:
                    found[label] = np.abs(loaded.logits(TOKENS) - expected).max() / np.ptp(expected)
        distances = "  ".join(f"{label} {share:.1e}" for label, share in found.items())
        print(f"{name}: range {np.ptp(expected):.1f}  {distances}")


if __name__ == "__main__":
    main()
