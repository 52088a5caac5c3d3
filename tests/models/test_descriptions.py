"""What the package, its page and the goldens say of architectures is the same, and every architecture is in it."""

import json
from pathlib import Path

from intact.models import ARCHITECTURES
from intact.models.descriptions import describe_architectures
from support.modules import load
from support.variants import VARIANTS
from support.variants.encoders import ENCODERS

ROOT = Path(__file__).parents[2]
GOLDENS = json.loads((Path(__file__).parent / "goldens.json").read_text())


def test_the_page_is_that_of_the_code() -> None:
    script = load("scripts/families.py")
    assert script.page() == script.PAGE.read_text(), "run scripts/families.py"


def test_every_architecture_was_compared() -> None:
    found = {one.name: one for one in describe_architectures()}
    assert list(found) == list(ARCHITECTURES)
    for one in found.values():
        assert all((one.title, one.summary, one.source))
        assert one.compared is not None
        theirs = f"Transformers {GOLDENS['versions']['transformers']}"
        assert one.compared.program == (theirs if one.compared.classes else "a program in NumPy, float64")
        assert 0 < one.compared.difference < 1e-4
    assert sum(one.compared.models for one in found.values() if one.compared) == len(VARIANTS) + len(ENCODERS)
    assert (len(GOLDENS["models"]), len(GOLDENS["encoders"])) == (len(VARIANTS), len(ENCODERS))


def test_differences_are_those_of_the_goldens() -> None:
    worst = {one.name: one.compared.difference for one in describe_architectures() if one.compared}
    own = {
        "llama": ("llama", "llama-biases", "iquest-coder"),
        "olmo2": ("olmo2", "olmo3"),
        "mistral": ("mistral", "ministral"),
    }
    for name, models in own.items():
        assert worst[name] == max(GOLDENS["models"][model]["transformers"]["ours"] for model in models)
    both = (*GOLDENS["models"].values(), *GOLDENS["encoders"].values())
    assert max(worst.values()) == max(golden["transformers"]["ours"] for golden in both)
