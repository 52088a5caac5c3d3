"""The recipe for a drafter: one file, and it is a choice of `drafter=`; so is one of another package."""

import json
from pathlib import Path

import pytest

from support.adding import follow, recipe, run_python, write_distribution

USE = """
import json
from pathlib import Path
import intact
from intact.engine.drafting import DRAFTERS
from support.tiny import write_tiny

path = write_tiny(Path(FOLDER) / "tiny.gguf", "llama")


def generate(drafter):
    model = intact.load(path, threads=1, drafter=drafter)
    if model.engine.drafting is not None:
        model.engine.drafting.controller.costs.seconds = lambda rows: 1 + 0 * rows  # rows that cost nothing
    tokens = model.generate([5, 6, 7], max_tokens=60, ignore_eos=True, logit_bias={9: 100})[0][0].tokens
    return tokens, 0 if model.engine.drafting is None else model.engine.drafting.statistics.accepted.get("repeat", 0)


print(json.dumps([list(DRAFTERS), DRAFTERS.origin("repeat"), generate("off"), generate("repeat")]))
"""


@pytest.mark.parametrize("home", ["a file of the project", "another package"])
def test_the_recipe_adds_a_drafter(tmp_path: Path, home: str) -> None:
    if home == "another package":
        (text,) = recipe("A drafter").values()
        found = write_distribution(
            tmp_path / "site", "stutter", "intact.drafters", {"repeat": "stutter:Repeat"}, {"stutter": text}
        )
    else:
        found = follow("A drafter", tmp_path / "copy")
    output = run_python(f"FOLDER = {str(tmp_path)!r}" + USE, found)
    names, origin, (plain, _), (drafted, accepted) = json.loads(output)
    assert names == ["auto", "lookup", "recycling", "repeat", "stand"]
    assert origin == ("stutter 1.0" if home == "another package" else "intact")
    assert drafted == plain, "a drafter changes no token"
    assert accepted > 0, "its guesses were run and accepted"
