"""What Transformers computes of tests/support/folders.py's tiny models, kept for tests/models/test_transformers.py.

    python benchmarks/transformers_goldens.py            # needs torch and transformers: logits, and our digests
    python benchmarks/transformers_goldens.py --new      # the same, of models that there are no goldens of
    python benchmarks/transformers_goldens.py --digests  # our digests alone, after a change of the numerics version

The logits are float32's on PyTorch, at some positions and tokens, with float64's distance from them; the digests are
ours.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import intact  # noqa: E402
from support.folders import TOKENS, VARIANTS, write_folder  # noqa: E402

GOLDENS = ROOT / "tests" / "models" / "goldens.json"
POSITIONS = (0, 1, 6, 7, 8, 9, 23, 31, 32, 38, 39)
EVERY = 8


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's little-endian bytes, the first 16 digits."""
    return hashlib.sha256(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()).hexdigest()[:16]


def digests(folder: Path) -> dict[str, str]:
    """Our logits' digests in each profile."""
    out = {}
    for name, options in (("int8", {}), ("4 bits", {"bits": 4}), ("fp32", {"profile": "fp32"})):
        raw, _ = intact.load(folder, **options).logits(TOKENS, raw=True)
        out[name] = digest(raw)
    return out


def transformers_logits(folder: Path) -> dict[str, Any]:
    """Logits by Transformers, rounded."""
    import torch
    from transformers import AutoModelForCausalLM

    found = {}
    for dtype in (torch.float32, torch.float64):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
        with torch.no_grad():
            found[dtype] = model(torch.tensor([TOKENS])).logits[0].double().numpy()
    single, double = found[torch.float32], found[torch.float64]
    part = single[np.ix_(POSITIONS, range(0, single.shape[1], EVERY))]
    return {
        "range": round(float(np.abs(single).max()), 3),
        "float64": float(f"{np.abs(single - double).max():.2g}"),
        "best": single.argmax(axis=1).tolist(),
        "logits": [[round(float(x), 5) for x in row] for row in part],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digests", action="store_true", help="keep the logits, renew our digests")
    parser.add_argument("--new", action="store_true", help="keep what there is")
    arguments = parser.parse_args()
    keep = arguments.digests
    old = json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {"models": {}}
    models = {}
    for name, variant in VARIANTS.items():
        if arguments.new and name in old["models"]:
            models[name] = old["models"][name]
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = write_folder(Path(temporary), variant, name)
            logits = old["models"][name]["transformers"] if keep else transformers_logits(folder)
            models[name] = {"transformers": logits, "digests": digests(folder)}
        print(name, logits["range"], logits["float64"], models[name]["digests"], flush=True)
    if keep:
        versions = old["versions"]
    else:
        import torch
        import transformers

        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    whole = {"versions": versions, "positions": POSITIONS, "every": EVERY, "models": models}
    GOLDENS.write_text(json.dumps(whole, indent=None, separators=(", ", ": ")).replace('"models"', '\n"models"') + "\n")


if __name__ == "__main__":
    main()
