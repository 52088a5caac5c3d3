"""The recipe for a sampling rule: one file, and Python, the command line, HTTP and receipts know it."""

import json
from itertools import pairwise
from pathlib import Path

from support.adding import follow, run_python

USE = """
import json, sys
from pathlib import Path
import intact
from intact.cli.options import with_sampling
from intact.engine.sampling.parameters import SamplingParameters
from intact._base.errors import ParameterError
from intact.receipts.request import sampling_from_document as from_document, sampling_to_document as to_document
from intact.receipts.schema import schema
from intact.serve.requests import ChatRequest
from support.tiny import write_tiny

model = intact.load(write_tiny(Path(sys.argv[-1]) / "tiny.gguf", "llama"), threads=1)


def text(**parameters):
    return model.generate([5, 6, 7], max_tokens=40, ignore_eos=True, logit_bias={9: 40, 11: 39}, receipt=True,
        temperature=0.5, **parameters)[0][0]


@with_sampling()
def command(sampling):
    pass


plain, ruled = text(), text(no_repeat_ngram=2)
try:
    SamplingParameters(no_repeat_ngram=-1)
except ParameterError as error:
    refused = str(error)
document = to_document(SamplingParameters(no_repeat_ngram=2))
verdicts = __import__("intact.receipts.verify", fromlist=["verify"]).verify(model, [plain.receipt, ruled.receipt])
form = ChatRequest(model="m", messages=[{"role": "user", "content": "x"}], no_repeat_ngram=3)
option = command.__signature__.parameters["no_repeat_ngram"].annotation.__metadata__[0]
print(json.dumps({
    "plain": plain.tokens,
    "ruled": ruled.tokens,
    "refused": refused,
    "document": document["no_repeat_ngram"],
    "default": "no_repeat_ngram" in to_document(SamplingParameters()),
    "back": from_document(document, "sampling").no_repeat_ngram,
    "schema": schema()["$defs"]["sampling"]["properties"]["no_repeat_ngram"],
    "verdicts": [verdict.outcome for verdict in verdicts],
    "form": form.no_repeat_ngram,
    "option": option.default,
    "help": option.help,
}))
"""


def pairs(tokens: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(tokens))


def test_the_recipe_adds_a_rule(tmp_path: Path) -> None:
    root = follow("A sampling rule", tmp_path / "copy")
    program = f"import sys; sys.argv.append({str(tmp_path)!r})" + USE
    found = json.loads(run_python(program, root))
    assert len(set(pairs(found["plain"]))) < len(pairs(found["plain"])), "the model alone repeats itself"
    assert len(set(pairs(found["ruled"]))) == len(pairs(found["ruled"])), "with the rule no pair comes twice"
    assert found["refused"] == "no_repeat_ngram must be an integer from 0 to 64, got -1"
    assert (found["document"], found["default"], found["back"]) == (2, False, 2)
    assert found["schema"] == {"type": "integer", "minimum": 0, "maximum": 64}
    assert found["verdicts"] == ["true", "true"]
    assert found["form"] == 3
    assert found["option"] == "--no-repeat-ngram"
    assert found["help"].startswith("Never write so many tokens")
