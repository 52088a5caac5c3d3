"""Adapters behind the server: each is a model of its own name, and answers as the library does."""

from pathlib import Path

import openai
import pytest

import intact
from intact._base.errors import ParameterError
from intact.receipts import canonical
from intact.receipts.document import Receipt
from intact.receipts.verify import verify_together
from intact.serve.models import ADAPTER, Loading, Models
from intact.serve.settings import ServerSettings
from support.adapters import write_adapter
from support.serving import running

ASKED = {"prompt": "a b c", "max_tokens": 8, "seed": 3, "temperature": 0.9}


@pytest.fixture(scope="module")
def adapters(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(folder / f"{name}.gguf", tiny_path, seed) for seed, name in enumerate(("one", "two"))}


@pytest.fixture(scope="module")
def server(tiny_path, adapters):
    with running({"tiny": tiny_path}, Loading(threads=1, adapters=adapters)) as there:
        yield there


def test_each_adapter_is_a_model_and_answers_as_the_library_does(server, client, tiny_path, adapters):
    listed = client.models.list().data
    assert [one.id for one in listed] == ["tiny", "one", "two"]
    assert [(one.model_extra or {}).get("parent") for one in listed] == [None, "tiny", "tiny"]
    made = {name: client.completions.create(model=name, **ASKED) for name in ("tiny", "one", "two", "one")}
    assert len({one.choices[0].text for one in made.values()}) == 3
    assert len({one.system_fingerprint for one in made.values()}) == 3
    options = {"max_tokens": 8, "seed": 3, "temperature": 0.9}
    with intact.load(tiny_path, adapters=adapters) as model:
        for name, answer in made.items():
            ((wanted,),) = model.generate("a b c", adapter="" if name == "tiny" else name, **options)
            assert answer.choices[0].text == wanted.text


def test_a_receipt_of_the_server_states_the_adapter(client, tiny_path, adapters):
    answer = client.completions.create(model="two", **ASKED, extra_body={"intact": {"receipt": True}})
    receipt = Receipt.parse(canonical.encode(answer.choices[0].receipt))
    with intact.load(tiny_path, adapters={"renamed": adapters["two"]}) as model:
        assert [one.outcome for one in verify_together(model, [receipt])] == ["true"]
    with intact.load(tiny_path) as model:
        assert [one.outcome for one in verify_together(model, [receipt])] == ["unverifiable"]


def test_an_unknown_name_lists_adapters_too(client):
    with pytest.raises(openai.NotFoundError, match=r"no model named 'on'.*one"):
        client.completions.create(model="on", **ASKED)


def test_memory_for_adapters_is_counted(tiny_path, adapters, tmp_path):
    folder = tmp_path / "peft"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(bytes(5000))
    (folder / "optimizer.pt").write_bytes(bytes(9000))  # of training; it is not loaded
    one, two = adapters.values()
    files = {"one": one, "half": Path(f"{two}:0.5"), "peft": folder, "absent": tmp_path / "absent"}

    def needed(**more):
        models = Models({"tiny": tiny_path, "other": tiny_path}, Loading(cache_bytes=1000, **more), ServerSettings())
        return [models._need(served) for served in models.served.values()]

    (alone, other), beside = needed(), needed(adapters=files)
    sizes = (one.stat().st_size, two.stat().st_size, 5000)
    assert beside == [alone + sum(int(ADAPTER * size) for size in sizes), other]


def test_an_adapter_cannot_have_a_models_name(tiny_path, adapters):
    with (
        pytest.raises(ParameterError, match="'tiny' is the name of a model"),
        running({"tiny": tiny_path}, Loading(adapters={"tiny": adapters["one"]})),
    ):
        pass
