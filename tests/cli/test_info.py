"""``intact info --architectures`` lists what runs, as the package describes it."""

import json

from intact.models import ARCHITECTURES
from intact.models.descriptions import describe_architectures


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
    assert found.err == "error: --architectures are this installation's: name no model\n"
