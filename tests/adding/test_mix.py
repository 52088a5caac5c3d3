"""The recipe for a mix: one file, and Python, the command line and receipts know it."""

import json
from pathlib import Path

from support.adding import follow, run_python

USE = """
import json, sys
from pathlib import Path
import intact
from intact.engine.mixes import chosen_mix, read_mix
from intact.receipts.document import Receipt
from intact.receipts.verify import verify
from support.tiny import write_tiny

model = intact.load(write_tiny(Path(sys.argv[-1]) / "tiny.gguf", "llama"), threads=1)
first, second = (model.logits([*prompt], raw=True)[0][-1].tolist() for prompt in ([5, 6, 7], [9, 8]))
options = {"mix": "mean", "shadow": [9, 8], "max_tokens": 6, "ignore_eos": True, "receipt": True}
((made,),) = model.generate([5, 6, 7], **options)
receipt = Receipt.parse(made.receipt.encode())
print(json.dumps({
    "read": read_mix("mean"),
    "first": made.tokens[0],
    "best": max(range(len(first)), key=lambda i: ((first[i] + second[i]) >> 1, -i)),
    "name": receipt.header.request.decoding.name,
    "outcome": [verdict.outcome for verdict in verify(model, [receipt])],
}))
"""


def test_the_recipe_adds_a_mix(tmp_path: Path) -> None:
    root = follow("A mix", tmp_path / "copy")
    found = json.loads(run_python(f"import sys; sys.argv.append({str(tmp_path)!r})" + USE, root))
    assert found["first"] == found["best"]
    assert (found["read"], found["name"], found["outcome"]) == ({"name": "mean"}, "mean", ["true"])
