"""A manifest names all that decides a result: two runs that may differ never state the same."""

import pytest

import intact
from intact.evaluate.manifest import manifest
from intact.evaluate.plan import plan
from intact.reason.backends.native import NativeBackend
from intact.tasks.choose import choose
from support.tiny import write_tiny

TASKS = [choose("gsm_ranges:size=1")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def described(folder, file, **options):
    """What a manifest says of a tiny model with matrices of floats."""
    path = write_tiny(folder / file, "llama", ("F16",), context=options.pop("context", 256))
    model = intact.load(path, drafter="off", threads=1, **options)
    (said,) = manifest(plan(TASKS, "self_consistency"), {"tiny": NativeBackend(model)})["models"]
    return said


def test_a_model_is_described_by_all_that_decides_its_texts(folder):
    own = described(folder, "own.gguf")
    assert own["name"] == "tiny"
    assert (own["bits"], own["context"], own["profile"], own["architecture"]) == (8, 256, "int8", "llama")
    for options, differ in (
        ({"bits": 4}, {"bits"}),
        ({"profile": "fp32"}, {"profile"}),
        ({"context": 128}, {"context", "weights"}),
    ):
        other = described(folder, "own.gguf", **options)
        assert own.keys() == other.keys()
        assert {name for name in own if own[name] != other[name]} == differ
