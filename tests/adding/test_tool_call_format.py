"""The recipe of docs/dev/adding.md for a tool-call format: one new file, then calls in it are read."""

from support.adding import follow, recipe, run_python, write_distribution

PROGRAM = """
from intact.text.tool_calls import FORMATS, CallReader, ParsedCall, find_format

assert FORMATS.origin("function_tags") == {origin!r}
form = find_format("{{% if tools %}}Write <function=NAME>{{...}}</function>{{% endif %}}")
assert form.name == "function_tags"
reader = CallReader(form)
before, after = form.frame("weather")
text = "Let me see. " + form.opens + before + '{{"city": "Rome"}}' + after + form.closes
found = [reader.push(character) for character in text]
assert "".join(content for content, _ in found) + reader.flush()[0] == "Let me see."
assert [call for _, calls in found for call in calls] == [ParsedCall("weather", '{{"city": "Rome"}}')]
assert find_format("{{% if tools %}}<tool_call>{{% endif %}}").name == "hermes"
assert find_format("{{{{ messages }}}}") is None
"""


def test_one_new_file_is_a_format(tmp_path):
    run_python(PROGRAM.format(origin="intact"), follow("A tool-call format", tmp_path / "copy"))


def test_an_entry_point_is_a_format(tmp_path):
    [text] = recipe("A tool-call format").values()
    entries, modules = {"function_tags": "of_tags:FunctionTags"}, {"of_tags": text}
    packages = write_distribution(tmp_path / "packages", "tags", "intact.tool_calls", entries, modules)
    run_python(PROGRAM.format(origin="tags 1.0"), packages)
