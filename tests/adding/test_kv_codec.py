"""The recipe for a codec of the KV cache: one file, and it is a choice of `kv=` and `--kv`, with bits of its own."""

import json
from pathlib import Path

from support.adding import follow, run_python

USE = """
import json
from pathlib import Path
import intact
from intact.numerics.profiles import describe_codecs
from intact.receipts.verify import verify
from support.tiny import write_tiny

path = write_tiny(Path(FOLDER) / "tiny.gguf", "llama")


def answer(kv, executor="native"):
    model = intact.load(path, threads=1, kv=kv, executor=executor)
    found = model.generate([5, 6, 7], max_tokens=12, ignore_eos=True, logprobs=True, receipt=True)[0][0]
    return model, found


model, coded = answer("int48")
(verdict,) = verify(intact.load(path, model.executor.profile), [coded.receipt])
plain, reference = answer(None)[1], answer("int48", "reference")[1]
names = [one["name"] for one in describe_codecs()]
same = [one.tokens == coded.tokens and one.logprobs == coded.logprobs for one in (reference, plain)]
print(json.dumps([names, same, model.executor.profile, verdict.outcome]))
"""


def test_the_recipe_adds_a_codec(tmp_path: Path) -> None:
    output = run_python(f"FOLDER = {str(tmp_path)!r}" + USE, follow("A KV codec", tmp_path / "copy"))
    names, (reference, plain), profile, verdict = json.loads(output)
    assert names == ["int4", "int48", "int8", "int84"]
    assert reference, "the native executor equals the reference"
    assert not plain, "its bits are its own"
    assert (profile, verdict) == ("int8+kv-int48", "true")
