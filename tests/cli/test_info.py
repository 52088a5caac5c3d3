"""``intact info --architectures`` lists what runs, as the package describes it."""

import json

from intact.models import ARCHITECTURES
from intact.models.descriptions import describe_architectures
from intact.numerics.kv_codecs import CODECS


def test_json_has_all_that_is_known_of_architectures(intact_command):
    found = intact_command("info", "--architectures", "--json").json
    assert found == json.loads(json.dumps([one.as_dict() for one in describe_architectures()]))
    mistral = next(one for one in found if one["name"] == "mistral")
    assert (mistral["gguf"], mistral["hf"]) == ("llama", ["MistralForCausalLM", "MinistralForCausalLM"])
    assert mistral["compared"]["classes"] == ["MinistralForCausalLM", "MistralForCausalLM"]


def test_the_table_names_every_architecture_and_its_difference(intact_command):
    printed = intact_command("info", "--architectures").out
    lines = {line.split()[0]: line.split()[1] for line in printed.splitlines() if line[:1].strip()}
    worst = {one.name: one.compared.difference for one in describe_architectures()}
    assert {name: float(lines[name]) for name in ARCHITECTURES} == worst


def test_a_model_and_architectures_are_two_questions(intact_command):
    found = intact_command("info", "some-model", "--architectures")
    assert found.code == 2
    assert found.err == "error: --architectures describes this installation: leave out the model\n"


def test_drafters_are_listed_with_what_they_learn(intact_command):
    found = {one["name"]: one for one in intact_command("info", "--drafters", "--json").json}
    assert list(found) == ["auto", "eagle3", "heads", "lookup", "model", "recycling", "stand"]
    assert [name for name, one in found.items() if one["draft_model"]] == ["eagle3", "model"]
    assert [name for name, one in found.items() if one["chosen_by"] != "drafter"] == ["eagle3"]
    assert found["stand"]["candidates"] == 10
    assert found["lookup"]["candidates"] == 0
    assert {one["origin"] for one in found.values()} == {"intact"}
    assert "Token Recycling" in intact_command("info", "--drafters").out
    assert "leave out the model" in intact_command("info", "some-model", "--drafters").err


def test_codecs_are_listed_with_their_sizes(intact_command):
    found = {one["name"]: one for one in intact_command("info", "--codecs", "--json").json}
    assert list(found) == list(CODECS)
    for name, one in found.items():
        assert (one["key_bits"], one["value_bits"]) == (CODECS[name].key_bits, CODECS[name].value_bits)
        assert one["bytes"] == 16 * (one["key_bits"] + one["value_bits"]) + 8 < one["bytes_without"] == 392
    assert "2.88 times smaller: keys and values of 4 bits" in intact_command("info", "--codecs").out


def test_several_lists_are_told_apart_by_their_names(intact_command):
    found = intact_command("info", "--codecs", "--drafters", "--json").json
    assert list(found) == ["drafters", "codecs"]
    for name, one in found.items():
        assert one == intact_command("info", f"--{name}", "--json").json
    printed = intact_command("info", "--codecs", "--drafters").out
    assert (
        printed.index("drafters") < printed.index("Token Recycling") < printed.index("codecs") < printed.index("2.88")
    )
