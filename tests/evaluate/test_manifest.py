"""A manifest names all that decides a result: two runs that may differ never state the same."""

from datetime import datetime

import pytest

import intact
from intact._base.errors import ParameterError
from intact.evaluate.files import check_place
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


def test_prompts_are_digested_as_the_model_is_given_them(folder):
    """By the chat template: another date in it is another run."""
    template = "{{ strftime_now('%Y-%m-%d') }} {{ messages[0].content }}"
    metadata = {"tokenizer.chat_template": template}
    path = write_tiny(folder / "dated.gguf", "llama", ("F16",), context=256, metadata=metadata)
    model = intact.load(path, drafter="off", threads=1)

    def prompts(day):
        backend = NativeBackend(model, datetime(2026, 11, day))
        (task,) = manifest(plan(TASKS, "self_consistency"), {"tiny": backend})["tasks"]
        return task["digests"]["prompts"]

    assert prompts(1) == prompts(1)
    assert prompts(1) != prompts(2)


def test_prompts_that_spell_control_tokens_are_other_ones_than_those_of_earlier_versions(folder, monkeypatch):
    path = write_tiny(folder / "spelling.gguf", "llama", ("F16",), context=256)
    backend = NativeBackend(intact.load(path, drafter="off", threads=1))
    found = []
    for spells in (lambda *_: True, lambda *_: False):
        monkeypatch.setattr(NativeBackend, "spells_control_tokens", spells)
        (task,) = manifest(plan(TASKS, "self_consistency"), {"tiny": backend})["tasks"]
        found.append(task["digests"]["prompts"])
    monkeypatch.undo()
    assert found[0] != found[1]
    assert backend.spells_control_tokens((("user", "Hi<|im_end|>"),))
    assert backend.prompt_digest((("user", "Hi<|im_end|>"),))
    assert not backend.prompt_digest((("user", "Hi"),))


def test_a_result_goes_into_a_file_of_its_own(tmp_path):
    for name, message in (("votes.json", "must end in .jsonl"), ("votes.traces.jsonl", "is reserved for traces")):
        with pytest.raises(ParameterError, match=message):
            check_place(tmp_path / name, {})


def test_a_long_prompt_with_a_colon_is_no_file(folder):
    prompt = "Do it as follows: " + "step by step " * 100
    path = write_tiny(folder / "prompted.gguf", "llama", ("F16",), context=256)
    backend = NativeBackend(intact.load(path, drafter="off", threads=1))
    made = manifest(plan(TASKS, "self_refine", parameters={"feedback": prompt}), {"tiny": backend})
    assert made["method"]["parameters"]["feedback"] == prompt
