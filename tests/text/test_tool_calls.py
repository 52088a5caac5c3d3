"""Calls of tools in what models write: which texts are calls, whatever the pieces that a text arrives in."""

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.text.thinking import TAGS
from intact.text.tool_calls import CallReader, ParsedCall, Signatures, ToolSignature, find_format
from intact.text.tool_calls.bare_json import BareJson
from intact.text.tool_calls.deepseek import BEGIN, BETWEEN, END, DeepSeek
from intact.text.tool_calls.gemma import GemmaCalls
from intact.text.tool_calls.glm import GlmTags
from intact.text.tool_calls.harmony import Harmony
from intact.text.tool_calls.hermes import Hermes
from intact.text.tool_calls.lfm2 import Lfm2Calls
from intact.text.tool_calls.llama import LlamaJson
from intact.text.tool_calls.minimax import MiniMax
from intact.text.tool_calls.mistral import Mistral
from intact.text.tool_calls.olmo import OlmoCalls
from intact.text.tool_calls.qwen_tags import QwenTags
from intact.text.tool_calls.seed import Seed
from intact.text.tool_calls.tool_list import ToolList

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}, "days": {}}, "required": ["city"]}
CLOSED = {"type": "object", "properties": {"a": {}, "b": {}}, "additionalProperties": False}
TOOLS = Signatures(
    [
        ToolSignature.of("weather", WEATHER),
        ToolSignature.of("add", CLOSED),
        ToolSignature.of("time", None),
        ToolSignature.of("exact", {"type": "object", "properties": {"n": {}}, "required": ["n"]}, strict=True),
    ]
)
FORMS = {
    "hermes": Hermes, "bare": BareJson, "llama": LlamaJson, "mistral": Mistral, "seed": Seed, "tool_list": ToolList,
}  # fmt: skip
OSLO = '{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}'
ROME = '{\n  "name": "weather",\n  "arguments": {\n    "city": "Rome"\n  }\n}'
TO_OSLO, TO_ROME = ("weather", {"city": "Oslo", "days": 3}), ("weather", {"city": "Rome"})
ADD = '{"name": "add", "parameters": {"a": 17, "b": 2.5e1}}'
TO_ADD = ("add", {"a": 17, "b": 25.0})

CALLS = {
    OSLO: ("", [TO_OSLO]),
    f"Let me see.\n\n{ROME}": ("Let me see.", [TO_ROME]),
    f"{OSLO}\n\nIt rains.": ("\n\nIt rains.", [TO_OSLO]),
    f"One {OSLO} two {ADD} three": ("One two three", [TO_OSLO, TO_ADD]),
    f"```json\n{ROME}\n```": ("", [TO_ROME]),
    f"So:\n```JSON \r\n{ROME}\r\n```\nDone.": ("So:\nDone.", [TO_ROME]),
    f"```\n{OSLO}\n{ADD}\n```": ("", [TO_OSLO, TO_ADD]),
    f"```json\n{OSLO}\n```\n\n```json\n{ROME}\n```": ("", [TO_OSLO, TO_ROME]),
    f"```tool_call\n[{OSLO}, {ROME}]\n```": ("", [TO_OSLO, TO_ROME]),
    f"[{OSLO}, {ADD}]": ("", [TO_OSLO, TO_ADD]),
    f"{OSLO}; {ADD}": ("", [TO_OSLO, TO_ADD]),
    f"{OSLO},\n{ADD};": (";", [TO_OSLO, TO_ADD]),
    f"<tools>\n{OSLO}\n</tools>": ("", [TO_OSLO]),
    f"<tools>\n{OSLO}\n{ADD} and so": (" and so", [TO_OSLO, TO_ADD]),
    f"<tool_call>\n{OSLO}\n</tool_call>": ("", [TO_OSLO]),
    f"<tool_call>\n{OSLO}\n{ADD}\n</tool_call>": ("", [TO_OSLO, TO_ADD]),
    f"<tool_call>\n{OSLO}\n": ("", [TO_OSLO]),
    f"```json\n{OSLO}\n": ("", [TO_OSLO]),
    '{"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}': ("", [TO_ROME]),
    '{"function": "weather", "arguments": {"city": "Rome"}}': ("", [TO_ROME]),
    '{"arguments": {"city": "Rome"}, "name": "weather", "id": "123456789"}': ("", [TO_ROME]),
    r'{"name": "weather", "arguments": "{\"city\": \"Rome\"}"}': ("", [TO_ROME]),
    '{"name": "time", "arguments": null}': ("", [("time", {})]),
    '{"name": "time", "arguments": {"any": [1, -2, true, {"x": []}, "}"]}}': (
        "",
        [("time", {"any": [1, -2, True, {"x": []}, "}"]})],
    ),
    '{"name": "time", "arguments": {"code": "a\nb"}}': ("", [("time", {"code": "a\nb"})]),
    '{"name": "weather", "arguments": {"city": "<tool_call> ``` {"}}': (
        "",
        [("weather", {"city": "<tool_call> ``` {"})],
    ),
    '{"name": "exact", "arguments": {"n": 1}}': ("", [("exact", {"n": 1})]),
    '```json\n[{"id": 1, "name" : "exact" ,\n "parameters":\n{"n": 1}}]\n```': ("", [("exact", {"n": 1})]),
    '{ int x; } {"name": "time", "arguments": {}}': ("{ int x; }", [("time", {})]),
    f"<think>{ADD}</think>\n{OSLO}": (f"<think>{ADD}</think>", [TO_OSLO]),
}
TEXTS = (
    "",
    "Plain { text } [1] with `code` and <tags> \n",
    f"<think>Perhaps {OSLO} ``` or\n</think>\nNo.",
    f"<think>{OSLO}",
    "`" + OSLO + "`",
    "```python\nadd = " + ADD + "\n```",
    "```json\n" + OSLO + " # three days\n```\n",
    '```json\n{"main": 1}\n```\n',
    "```json\n" + OSLO + '\n{"main": 1}\n```',
    '{"name": "rain", "arguments": {}}',
    '{"name": "weather"}',
    '{"name": "weather", "arguments": {"days": 3}}',
    '{"name": "weather", "arguments": ["Rome"]}',
    '{"name": "weather", "arguments": "Rome"}',
    '{"name": "weather", "arguments": {"city": "Rome"}, "result": 5}',
    '{"name": "weather", "arguments": {"city": "Rome"}, "arguments": {}}',
    '{"name": "weather", "arguments": {"city": "Rome"}',
    '{"name": "weather", "description": "Of a city.", "parameters": {"type": "object"}}',
    '{"name": "add", "arguments": {"a": 1, "c": 2}}',
    '{"name": "add", "arguments": {"a": 01}}',
    '{"name": "add", "arguments": {"a": 1,}}',
    '{"name": "add", "arguments": {"a": nul}}',
    '[{"name": "time", "arguments": {}}, {"name": "rain", "arguments": {}}]',
    '[{"name": "time", "arguments": {}},]x',
    "[]",
    "[[",
    '{"arguments": {"n": 1}, "name": "exact"}',
    '{"name": "exact", "id": "1", "arguments": {"n": 1}}',
    r'{"name": "exact", "arguments": "{\"n\": 1}"}',
    '{"name": "exact", "arguments": null}',
    '{"function": "exact", "arguments": {"n": 1}}',
    '<tool_call>\n{"name": "rain", "arguments": {}}\n</tool_call>',
    '<tool_call>\n{"name": "weather", "arguments": {"days": 3}}\n</tool_call>',
    "<tool_call>",
    "<tools>\nnone\n</tools>",
    "```",
    "``` {",
    "a ```json",
    '{"name": "time", "arguments": ' + '{"a": ' * 200 + "1" + "}" * 201,
)
EXPECTED = CALLS | {text: (text, []) for text in TEXTS}
# a list of which one member is no call still holds a call for those who read on
EXPECTED['[{"name": "time", "arguments": {}}, {"name": "rain", "arguments": {}}]'] = (
    '[, {"name": "rain", "arguments": {}}]',
    [("time", {})],
)
EXPECTED['[{"name": "time", "arguments": {}},]x'] = ("[,]x", [("time", {})])


def read(reader, text, cuts):
    bounds = sorted({0, len(text), *[min(cut, len(text)) for cut in cuts]})
    content, calls = "", []
    for start, end in pairwise(bounds):
        piece, found = reader.push(text[start:end])
        content, calls = content + piece, calls + found
    rest, found = reader.flush()
    return content + rest, [(call.name, json.loads(call.arguments)) for call in calls + found]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", EXPECTED)
def test_what_is_a_call_and_what_is_text(form, text):
    assert read(CallReader(FORMS[form](), tools=TOOLS), text, []) == EXPECTED[text]
    assert read(CallReader(FORMS[form](), tools=TOOLS), text, range(len(text))) == EXPECTED[text]


# each format's own way to write a call of the tool `time` with one text as its argument
WAYS = {
    Hermes: lambda text: f'<tool_call>{{"name": "time", "arguments": {json.dumps({"a": text})}}}</tool_call>',
    ToolList: lambda text: f'<tool_calls>[{{"name": "time", "arguments": {json.dumps({"a": text})}}}]</tool_calls>',
    Seed: lambda text: f"<seed:tool_call>{TAGGED.format(text)}</seed:tool_call>",
    QwenTags: lambda text: f"<tool_call>{TAGGED.format(text)}</tool_call>",
    GlmTags: lambda text: f"<tool_call>time\n<arg_key>a</arg_key>\n<arg_value>{text}</arg_value>\n</tool_call>",
    MiniMax: lambda text: (
        f'<minimax:tool_call>\n<invoke name="time">\n<parameter name="a">{text}</parameter>\n</invoke>\n'
        "</minimax:tool_call>"
    ),
    GemmaCalls: lambda text: f'<|tool_call>call:time{{a:<|"|>{text}<|"|>}}<tool_call|>',
    DeepSeek: lambda text: f"{DeepSeek.opens}{BEGIN}time{BETWEEN}{json.dumps({'a': text})}{END}{DeepSeek.closes}",
    Lfm2Calls: lambda text: f"<|tool_call_start|>[time(a={text!r})]<|tool_call_end|>",
    OlmoCalls: lambda text: f"<function_calls>\ntime(a={text!r})\n</function_calls>",
    Mistral: lambda text: f"[TOOL_CALLS] {json.dumps([{'name': 'time', 'arguments': {'a': text}}])}",
    LlamaJson: lambda text: f"<|python_tag|>{json.dumps({'name': 'time', 'parameters': {'a': text}})}",
    BareJson: lambda text: json.dumps({"name": "time", "arguments": {"a": text}}),
}
TAGGED = "\n<function=time>\n<parameter=a>\n{}\n</parameter>\n</function>\n"
ALL = sorted(WAYS, key=lambda form: form.name)


def read_every_way(form, text, thought=None, tools=TOOLS):
    """Return what is read from a text, which has to be the same however it is cut in two, or into characters."""
    found = read(CallReader(form(), tools=tools, thought=thought), text, [])
    assert read(CallReader(form(), tools=tools, thought=thought), text, range(len(text))) == found
    for cut in range(0, len(text), max(1, len(text) // 60)):
        assert read(CallReader(form(), tools=tools, thought=thought), text, [cut]) == found
    return found


@pytest.mark.parametrize("form", ALL, ids=lambda form: form.name)
def test_the_closing_mark_in_a_string_ends_no_call(form):
    for mark in (form.closes, "</parameter>", "</function>", "</arg_value>", END, "```", "<think>", "`", "}"):
        value = f"a{mark}\"b \\\\ c'{mark} d"
        text = f"So: {WAYS[form](value)} Yes."
        assert read(CallReader(form(), tools=TOOLS), text, range(900)) == ("So: Yes.", [("time", {"a": value})])
    value = f"x{form.closes}y"
    assert read_every_way(form, f"So: {WAYS[form](value)}") == ("So:", [("time", {"a": value})])


@pytest.mark.parametrize("form", ALL, ids=lambda form: form.name)
@pytest.mark.parametrize("tools", [TOOLS, None], ids=["known", "unknown"])
def test_thoughts_and_code_hold_no_calls(form, tools):
    call, other = WAYS[form]("x"), WAYS[form]("y")
    are_read = tools is not None or form.closes
    called = [("time", {"a": "y"})] if are_read else []
    for hidden in (
        f"<think>Perhaps {call}</think>\n",
        f"<seed:think>{call} or {call}</seed:think>",
        f"<|channel>thought {call}<channel|>",
        f"Like `{call}`: ",
        f"Like ``{call}``, ",
        f"```json\nSo: {call}\n```\n",
        f"```python\nx = '{call}'\n```\n",
        f"````\n```json\n{call}\n```\n````\n",
    ):
        expected = (hidden.rstrip() if are_read else hidden + other, called)
        assert read_every_way(form, hidden + other, tools=tools) == expected
    for text in (f"<think>So {call}", f"```python\n{call}\n", f"`{call}` and ``{call}``."):
        assert read_every_way(form, text, tools=tools) == (text, [])
    for tags in TAGS:
        assert read_every_way(form, f"So {call}", tags, tools) == (f"So {call}", [])
        text = f"So {call}{tags.closes}\n"
        expected = (text.rstrip() if are_read else text + other, called)
        assert read_every_way(form, text + other, tags, tools) == expected


@pytest.mark.parametrize("form", ALL, ids=lambda form: form.name)
def test_a_block_made_of_calls_alone_is_calls(form):
    call, called = WAYS[form]("y"), ("time", {"a": "y"})
    assert read_every_way(form, f"So: ```\n{call}\n``` Yes.") == ("So: Yes.", [called])
    assert read_every_way(form, f"So:\n```xml\n{call}\n{call}\n```") == ("So:", [called, called])


@pytest.mark.parametrize("form", ALL, ids=lambda form: form.name)
def test_what_is_no_call_hides_no_later_one(form):
    call, called = WAYS[form]("y"), ("time", {"a": "y"})
    broken = WAYS[form]("x").replace("x", 'x"', 1)
    for text in (f"{form.opens} {form.closes}", f"{form.opens}{form.closes}", broken):
        content, calls = read(CallReader(form(), tools=TOOLS), f"{text}\n\n{call}", range(900))
        assert calls[-1] == called
        assert text.strip() in content or len(calls) == 2
    assert read_every_way(form, f"Don`t.\n\n{call}") == ("Don`t.", [called])
    assert read_every_way(form, f"Don`t: {call} Yes.") == ("Don`t: Yes.", [called])
    if form.begins:
        text = f"The mark {form.opens} begins calls:"
        assert read_every_way(form, f"{text} {call}") == (text, [called])


PARTS = [
    "{",
    "[",
    "]",
    "}",
    '"',
    "```",
    "``",
    "`",
    "json\n",
    "\n",
    "\n\n",
    " ",
    "<tool_call>",
    "</tool_call>",
    "<tools>",
    "</tools>",
    "<think>",
    "</think>",
    "<|channel>thought",
    "<channel|>",
]
PARTS += [OSLO, ADD, '"name"', ":", ",", ";", "so", "[TOOL_CALLS]", "<|python_tag|>", '{"name": "weather", ', "\\"]


@given(st.data(), st.sampled_from(ALL), st.booleans(), st.booleans(), st.sampled_from([None, *TAGS]))
def test_the_result_does_not_depend_on_how_a_text_is_cut(data, form, alone, plain, thought):
    call = WAYS[form]("`x`")
    own = [form.opens, form.closes, call, call[: len(call) // 2], call[len(call) // 2 :], WAYS[form](form.closes)]
    text = data.draw(
        st.one_of(st.sampled_from(sorted(EXPECTED)), st.lists(st.sampled_from(PARTS + own), max_size=12).map("".join))
    )
    cuts = data.draw(st.lists(st.integers(0, 200)))

    def made():
        return CallReader(form(), alone, TOOLS, plain, thought)

    assert read(made(), text, cuts) == read(made(), text, []) == read(made(), text, range(len(text)))


@given(st.text(alphabet='{}[]":,`\n a<tolcj>sn', max_size=60), st.sampled_from(sorted(FORMS)))
def test_text_without_calls_stays_as_it_is(text, form):
    assert read(CallReader(FORMS[form](), tools=TOOLS), text, range(len(text))) == (text, [])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", [text for text, (_, calls) in CALLS.items() if len(calls) > 1])
def test_the_text_ends_with_its_first_call_where_calls_may_not_be_parallel(form, text):
    content, calls = CALLS[text]
    found, first = read(CallReader(FORMS[form](), True, TOOLS), text + " and more", range(200))
    assert first == calls[:1]
    assert content.startswith(found)


@pytest.mark.parametrize(
    ("form", "text"), [("mistral", f"[TOOL_CALLS] [{OSLO}]"), ("llama", f"<|python_tag|>{OSLO}"), ("llama", ADD)]
)
def test_marks_that_are_seen_are_no_text(form, text):
    content, calls = read(CallReader(FORMS[form](), tools=TOOLS), f"Well.\n{text}", range(200))
    assert (content, len(calls)) == ("Well.", 1)
    nothing = text.replace("weather", "rain").replace("add", "rain")
    assert read(CallReader(FORMS[form](), tools=TOOLS), nothing, range(200)) == (nothing, [])


def test_without_plain_json_calls_stand_between_marks_alone():
    text = f"{OSLO}<tool_call>{ADD}</tool_call>"
    assert read(CallReader(Hermes(), tools=TOOLS, plain=False), text, range(200)) == (OSLO, [TO_ADD])
    assert read(CallReader(Hermes()), text, range(200)) == (OSLO, [TO_ADD])


@pytest.mark.parametrize("form", [form for form in ALL if form.closes], ids=lambda form: form.name)
def test_the_strings_of_an_answer_in_json_hold_no_calls(form):
    call, called = WAYS[form]("y"), ("time", {"a": "y"})
    texts = (f'{{"b": "\\"{call}", "c": ["`"]}}', f'{{"b": "{call}', json.dumps({"b": call}))
    if '"' in call:
        texts = texts[2:]
    for text in texts:
        for cuts in ([], range(len(text)), range(0, len(text), 5), range(1, len(text), 7)):
            assert read(CallReader(form(), tools=TOOLS, plain=False), text, cuts) == (text, [])
    assert read(CallReader(form(), tools=TOOLS, plain=False), call, range(200)) == ("", [called])


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (DeepSeek, "deepseek"),
        (GlmTags, "glm"),
        (Harmony, "harmony"),
        (Hermes, "hermes"),
        (GemmaCalls, "gemma"),
        (Lfm2Calls, "lfm2"),
        (LlamaJson, "llama"),
        (MiniMax, "minimax"),
        (Mistral, "mistral"),
        (OlmoCalls, "olmo"),
        (QwenTags, "qwen_tags"),
        (Seed, "seed"),
        (ToolList, "tool_list"),
    ],
)
def test_what_a_format_frames_it_reads(form, name):
    before, after = form().frame("weather")
    text = form.opens + before + '{"city": "Rome"}' + after + form.closes
    assert read(CallReader(form(), tools=TOOLS), text, []) == ("", [TO_ROME])
    inside = {QwenTags: "<tool_call><function=", GlmTags: "<tool_call>{name}<arg_key>"}
    shown = ({Harmony: "<|channel|>commentary"} | inside).get(form, form.opens)
    assert find_format("{% if tools %}" + shown + "{% endif %}").name == name


PYTHON_CALLS = {
    '[weather(city="Oslo", days=3)]': [TO_OSLO],
    "[weather(city='Rome'), time()]": [TO_ROME, ("time", {})],
    "weather(city='Rome')": [TO_ROME],
    "weather(city='Rome')\nweather(city='Oslo', days=3)\n": [TO_ROME, TO_OSLO],
    "weather(city='Rome')\nx = 3": [],
    "import os": [],
    '\n[time(a=[1, -2.5, {"b": None}], c=(true, False), d="a\\nb [x(")]\n': [
        ("time", {"a": [1, -2.5, {"b": None}], "c": [True, False], "d": "a\nb [x("})
    ],
    "[home.lamp(on=True)]": [("home.lamp", {"on": True})],
    f"[{OSLO}]": [TO_OSLO],
    "[weather('Rome')]": [],
    "[weather(city=Rome)]": [],
    "[weather(city=open('x'))]": [],
    "[weather(**{})]": [],
    "[weather(city='a', city='b')]": [],
    "[weather(city=1e999)]": [],
    "[weather(city={1: 2})]": [],
    "[weather(city=b'a')]": [],
    "[weather(city='Rome'), 7]": [],
    "[f()()]": [],
    "weather(city='Rome'": [],
    "(" * 100_000: [],
    "[" * 500 + "]" * 500: [],
    "": [],
}


@pytest.mark.parametrize("text", PYTHON_CALLS)
def test_calls_of_python_are_read_as_arguments(text):
    assert [(call.name, json.loads(call.arguments)) for call in Lfm2Calls().parse(text)] == PYTHON_CALLS[text]


@given(st.lists(st.integers(0, 120)))
def test_calls_of_python_are_found_however_a_text_is_cut(cuts):
    call = '<|tool_call_start|>[weather(city="Rome")]<|tool_call_end|>'
    found = read(CallReader(Lfm2Calls(), tools=TOOLS), f"So: {call} It rains.", cuts)
    assert found == ("So: It rains.", [TO_ROME])


def test_templates_of_lfm2_show_the_mark_of_its_list_of_tools():
    assert find_format("{% if tools %}<|tool_list_start|>{% endif %}").name == "lfm2"


DEEPSEEK_ROME = f'{BEGIN}weather{BETWEEN}{{"city": "Rome"}}{END}'
V3_ROME = f'{BEGIN}function{BETWEEN}weather\n```json\n{{"city": "Rome"}}\n```{END}'
DEEPSEEK_CALLS = {
    DEEPSEEK_ROME: [TO_ROME],
    V3_ROME: [TO_ROME],
    f"{V3_ROME}\n{V3_ROME}\n": [TO_ROME, TO_ROME],
    f"{BEGIN}time{BETWEEN}{END}{DEEPSEEK_ROME}": [("time", {}), TO_ROME],
    f"{BEGIN}function{BETWEEN}{{}}{END}": [("function", {})],
    f'{BEGIN}function{BETWEEN}time\n```json\n{{"a": "```"}}\n```{END}': [("time", {"a": "```"})],
    f"{BEGIN}function{BETWEEN}time\n```json\n```{END}": [("time", {})],
    f"{BEGIN}time{BETWEEN}[1]{END}": [],
    f"{BEGIN}time{BETWEEN}{{a}}{END}": [],
    f"{BEGIN} {BETWEEN}{{}}{END}": [],
    f"{BEGIN}time{BETWEEN}{{}}": [],
    f"{DEEPSEEK_ROME} and then": [],
    OSLO: [],
    "": [],
}


@pytest.mark.parametrize("text", DEEPSEEK_CALLS)
def test_calls_of_deepseek_are_read_as_arguments(text):
    assert [(call.name, json.loads(call.arguments)) for call in DeepSeek().parse(text)] == DEEPSEEK_CALLS[text]


@given(st.lists(st.integers(0, 200)))
def test_calls_of_deepseek_are_found_however_a_text_is_cut(cuts):
    text = f"So: {DeepSeek.opens}{DEEPSEEK_ROME}{V3_ROME}{DeepSeek.closes} It rains."
    assert read(CallReader(DeepSeek(), tools=TOOLS), text, cuts) == ("So: It rains.", [TO_ROME, TO_ROME])


# as gpt-oss's texts are seen, of whose control tokens `<|constrain|>` alone is text
HARMONY_ROME = 'commentary to=functions.weather <|constrain|>json{"city": "Rome"}'
HARMONY_TIME = "assistantcommentary to=functions.time <|constrain|>json{}"
HARMONY_TEXTS = {
    HARMONY_ROME: ("", [TO_ROME]),
    f"analysisHm, weather.assistant{HARMONY_ROME}": ("analysisHm, weather.", [TO_ROME]),
    f"analysisHm.assistantcommentaryFirst,\nRome.\nassistant{HARMONY_ROME}": (
        "analysisHm.assistantcommentaryFirst,\nRome.",
        [TO_ROME],
    ),
    f"analysisHm.assistant{HARMONY_ROME}{HARMONY_TIME}": ("analysisHm.", [TO_ROME, ("time", {})]),
    f"{HARMONY_ROME}<|call|>\n{HARMONY_ROME}<|call|>": ("", [TO_ROME, TO_ROME]),
    f"{HARMONY_ROME}assistantfinalIt rains.": ("assistantfinalIt rains.", [TO_ROME]),
    'commentary to=functions.weather<|constrain|>json{"city": "Rome"}': ("", [TO_ROME]),
    'commentary to=functions.weather json{"city": "Rome"}': ("", [TO_ROME]),
    'commentary to=functions.weather{"city": "Rome"}': ("", [TO_ROME]),
    'analysis to=functions.weather code{"city": "Rome"}': ("", [TO_ROME]),
    'final to=functions.weather{"city": "Rome"}': ("", [TO_ROME]),
    'analysisHm.assistantanalysis to=functions.weather code{"city": "Rome"}': ("analysisHm.", [TO_ROME]),
    f'analysisHm.assistantfinal to=functions.weather{{"city": "Rome"}}assistant{HARMONY_ROME}': (
        "analysisHm.",
        [TO_ROME, TO_ROME],
    ),
    f"analysisWith {HARMONY_ROME}, perhaps.assistant{HARMONY_ROME}": (
        f"analysisWith {HARMONY_ROME}, perhaps.",
        [TO_ROME],
    ),
    'commentary to=functions.time <|constrain|>json{"a": "C:\\users <|call|> }"}<|call|>': (
        "",
        [("time", {"a": "C:\\users <|call|> }"})],
    ),
    ' to=functions.weathercommentary json{"city": "Rome"}': ("", [TO_ROME]),
    'analysisHm.assistant to=functions.weathercommentary <|constrain|>json{"city": "Rome"}': ("analysisHm.", [TO_ROME]),
    'commentary to=functions.time <|constrain|>json{"any": [{"a": "}]\\\\"}, "\\"{["]}': (
        "",
        [("time", {"any": [{"a": "}]\\"}, '"{[']})],
    ),
}
HARMONY_PLAIN = (
    "",
    "analysisHm.assistantfinalIt rains.",
    f"analysisHm.assistantfinal{OSLO}",
    f"analysis{OSLO}assistantfinalNo.",
    "analysisSend it to=functions.weather, the assistant to=functions.",
    'analysisLike to=functions.weather {"city": "Rome"} here.',
    f"analysisI could write {HARMONY_ROME} here.",
    'analysisI, the assistant to=functions.weather {"city": "Rome"} here.',
    f"analysisHm.assistantfinalWrite assistant{HARMONY_ROME} there.",
    f"finalWrite assistant{HARMONY_ROME} there.",
    f"{OSLO} commentary to=functions.weather",
    'commentary to=functions.weather <|constrain|>json{"city": "Rome"',
    'commentary to=functions.weather <|constrain|>json{"city": Rome}',
    'commentary to=functions.weather <|constrain|>json{"city": "Rome"] }',
    'commentary to=functions.weather <|constrain|>json["Rome"]',
    "commentary to=functions.rain <|constrain|>json{}",
    'commentary to=functions.weather <|constrain|>json{"days": 3}',
    'commentary to=browser.search <|constrain|>json{"city": "Rome"}',
    'commentary to=functions. <|constrain|>json{"city": "Rome"}',
    'commentary to=functions.weather or so, {"city": "Rome"}',
    "commentary to=functions." + "weather" * 100 + "{}",
    "assistantcommentary to=func",
    "assistant",
    " to",
)


@pytest.mark.parametrize("text", [*HARMONY_TEXTS, *HARMONY_PLAIN])
def test_calls_of_gpt_oss_are_told_from_text(text):
    wanted = HARMONY_TEXTS.get(text, (text, []))
    for cuts in ([], range(len(text)), range(0, len(text), 3), range(1, len(text), 7)):
        assert read(CallReader(Harmony(), tools=TOOLS), text, cuts) == wanted


@given(st.sampled_from([*HARMONY_TEXTS, *HARMONY_PLAIN]), st.lists(st.integers(0, 120)))
def test_calls_of_gpt_oss_are_found_however_a_text_is_cut(text, cuts):
    assert read(CallReader(Harmony(), tools=TOOLS), text, cuts) == HARMONY_TEXTS.get(text, (text, []))


def test_broken_calls_of_gpt_oss_do_not_hide_later_ones():
    broken = 'commentary to=functions.weather <|constrain|>json{"city": Rome}'
    found = read(CallReader(Harmony(), tools=TOOLS), f"{broken}assistant{HARMONY_ROME}", range(200))
    assert found == (broken, [TO_ROME])


def test_a_call_of_gpt_oss_comes_with_the_token_behind_it_or_the_end():
    reader = CallReader(Harmony(), tools=TOOLS)
    assert reader.push(f"analysisHm.assistant{HARMONY_ROME}") == ("analysisHm.", [])
    assert [call.name for call in reader.push("<|call|>")[1]] == ["weather"]
    assert reader.push(HARMONY_ROME) == ("", [])
    assert [call.name for call in reader.flush()[1]] == ["weather"]
    assert read(CallReader(Harmony(), alone=True, tools=TOOLS), HARMONY_ROME * 2 + "x", range(200)) == ("", [TO_ROME])


def test_a_long_call_of_gpt_oss_is_read_in_linear_time():
    text = 'commentary to=functions.time <|constrain|>json{"text": "' + "{x" * 30_000
    reader, began = CallReader(Harmony(), tools=TOOLS), time.process_time()
    for start in range(0, len(text), 8):
        assert reader.push(text[start : start + 8]) == ("", [])
    assert reader.push('"}<|call|>')[1][0].name == "time"
    many = CallReader(Harmony(), tools=TOOLS)
    text = "commentary to=functions.time{" * 1500
    assert (many.push(text)[0] + many.flush()[0]) == text
    assert time.process_time() - began < 5


def test_the_word_analysis_hides_no_calls_of_other_models():
    assert read(CallReader(Hermes(), tools=TOOLS), f"My analysis: {OSLO}", range(200)) == ("My analysis:", [TO_OSLO])


SEED_ROME = "<function=weather>\n<parameter=city>\nRome\n</parameter>\n</function>"
SEED_CALLS = {
    SEED_ROME: [TO_ROME],
    f"\n{SEED_ROME}\n<function=time>\n</function>\n": [TO_ROME, ("time", {})],
    "<function=weather><parameter=city>Rome</parameter><parameter=days>3</parameter></function>": [
        ("weather", {"city": "Rome", "days": "3"})
    ],
    "<function=time><parameter=a>[1, {}]</parameter><parameter=b>\n  if x:\n    y\n</parameter></function>": [
        ("time", {"a": "[1, {}]", "b": "  if x:\n    y"})
    ],
    '<function=time><parameter=a>"3"</parameter><parameter=b>007</parameter></function>': [
        ("time", {"a": '"3"', "b": "007"})
    ],
    '<function=time>{"a": true}</function>': [("time", {"a": True})],
    "<function=time>{a}</function>": [],
    "<function=time><parameter=a>1</function>": [],
    "<function=time>x</function>": [],
    f"{SEED_ROME} and then": [],
    "<function=>{}</function>": [],
    "": [],
}


@pytest.mark.parametrize("text", SEED_CALLS)
def test_calls_of_tags_are_read_as_arguments(text):
    assert [(call.name, json.loads(call.arguments)) for call in Seed().parse(text)] == SEED_CALLS[text]


OTHER_TAGS = {
    '<invoke name="weather">\n<parameter name="city">Rome</parameter>\n</invoke>': (MiniMax, [TO_ROME]),
    '\n<invoke name="weather"><parameter name="city">Rome</parameter></invoke>\n<invoke name="time">\n</invoke>\n': (
        MiniMax,
        [TO_ROME, ("time", {})],
    ),
    '<invoke name="time"><parameter name="a">[1]</parameter><parameter name="b">\nx\n</parameter></invoke>': (
        MiniMax,
        [("time", {"a": "[1]", "b": "\nx\n"})],
    ),
    '<invoke name="time">x</invoke>': (MiniMax, []),
    '<invoke name="time"><parameter name="a">1</invoke>': (MiniMax, []),
    "weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n": (GlmTags, [TO_ROME]),
    "weather<arg_key>city</arg_key><arg_value>Oslo</arg_value><arg_key>days</arg_key><arg_value>3</arg_value>": (
        GlmTags,
        [TO_OSLO],
    ),
    "\ntime\n": (GlmTags, [("time", {})]),
    'time {"a": true}': (GlmTags, [("time", {"a": True})]),
    "time and more": (GlmTags, []),
    "<arg_key>city</arg_key><arg_value>Rome</arg_value>": (GlmTags, []),
    "time<arg_key>a</arg_key>": (GlmTags, []),
    "time<arg_key>a</arg_key><arg_value>1</arg_value> b": (GlmTags, []),
    'call:weather{city:<|"|>Rome<|"|>}': (GemmaCalls, [TO_ROME]),
    ' call:weather{ city : <|"|>Oslo<|"|>, days: 3}\n': (GemmaCalls, [TO_OSLO]),
    "call:time{}": (GemmaCalls, [("time", {})]),
    'call:time{a:[1,<|"|>a "b", {c:d}\n<|"|>],some key:{b:true,c:-2.5e3}}': (
        GemmaCalls,
        [("time", {"a": [1, 'a "b", {c:d}\n'], "some key": {"b": True, "c": -2500.0}})],
    ),
    'call:time{a:<|"|>x: {1}<|"|>,"b":"k: v, \\"w"}': (GemmaCalls, [("time", {"a": "x: {1}", "b": 'k: v, "w'})]),
    "call:time{a:1": (GemmaCalls, []),
    "call:time{a:b}": (GemmaCalls, []),
    'call:time{a:<|"|>1}': (GemmaCalls, []),
    "call:time{a:1} and": (GemmaCalls, []),
    "time{a:1}": (GemmaCalls, []),
}


@pytest.mark.parametrize("text", OTHER_TAGS)
def test_calls_of_other_tags_are_read_as_arguments(text):
    form, calls = OTHER_TAGS[text]
    assert [(call.name, json.loads(call.arguments)) for call in form().parse(text)] == calls


@given(st.lists(st.integers(0, 120)))
def test_calls_of_tags_are_found_however_a_text_is_cut(cuts):
    text = f"<seed:think>{SEED_ROME}</seed:think>So: <seed:tool_call>{SEED_ROME}</seed:tool_call>"
    found = read(CallReader(Seed(), tools=TOOLS), text, cuts)
    assert found == (f"<seed:think>{SEED_ROME}</seed:think>So:", [TO_ROME])


@given(st.lists(st.integers(0, 120)))
def test_calls_of_tags_between_other_marks_are_found_however_a_text_is_cut(cuts):
    text = f"Now.\n\n<tool_call>\n{SEED_ROME}\n</tool_call>\n<tool_call>\n{SEED_ROME}\n</tool_call>"
    assert read(CallReader(QwenTags(), tools=TOOLS), text, cuts) == ("Now.", [TO_ROME, TO_ROME])


def test_templates_and_their_formats():
    tags = "{% if tools %}<tool_call>\n<function=example_function_name>\n{% endif %}"
    assert find_format(tags).name == "qwen_tags"
    assert find_format(tags.replace("<function=", "")).name == "hermes"
    assert find_format(tags.replace("<function=", "<arg_key>")).name == "glm"
    llama = '{% if tools %}{"name": function name, "parameters": dictionary of argument name and its value}{% endif %}'
    assert find_format(llama).name == "llama"
    assert find_format("{% if tools %}{{ tools }}{% endif %}") is None
    assert find_format("<tool_call>") is None


def test_signatures():
    assert (
        ToolSignature.of("f", {"required": 5, "properties": [], "additionalProperties": False}).allowed == frozenset()
    )
    open_ = {"patternProperties": {"x": {}}, "additionalProperties": False}
    assert ToolSignature.of("f", open_).takes(["anything"])
    assert not TOOLS.fits(ParsedCall("rain", "{}"))
    assert TOOLS.fits(ParsedCall("weather", '{"city": "Rome", "more": 1}'))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_arguments_are_json_that_can_be_said_again(number):
    text = f'{{"name": "time", "arguments": {{"at": {number}}}}}'
    spelt = json.dumps({"name": "time", "arguments": f'{{"at": {number}}}'})
    for one in (text, spelt, f"{text}\n{text}"):
        reader = CallReader(Hermes(), tools=TOOLS)
        content, calls = reader.push(f"<tool_call>{one}</tool_call>")
        rest, more = reader.flush()
        assert (content + rest, calls + more) == (f"<tool_call>{one}</tool_call>", [])


@pytest.mark.parametrize("text", ["``` " + " " * 40_000, "``` " + " " * 40_000 + "x", "{" * 80_000, '{"' * 40_000])
@pytest.mark.parametrize("form", [Hermes(), LlamaJson()])
def test_hostile_text_takes_no_longer_than_other_text(form, text):
    began = time.process_time()
    reader = CallReader(form, tools=TOOLS)
    content, calls = reader.push(text)
    rest, more = reader.flush()
    assert (content + rest, calls + more) == (text, [])
    assert time.process_time() - began < 3


def test_white_space_is_held_back_without_being_searched_again():
    began, reader = time.process_time(), CallReader(Hermes(), tools=TOOLS)
    for _ in range(4_000):
        assert reader.push(" " * 64) == ("", [])
    assert reader.push(OSLO)[1]
    assert time.process_time() - began < 5


def test_a_long_call_is_read_in_linear_time():
    text = '{"name": "time", "arguments": {"text": "' + "x" * 60_000
    reader = CallReader(Hermes(), tools=TOOLS)
    for start in range(0, len(text), 8):
        assert reader.push(text[start : start + 8]) == ("", [])
    assert reader.push('"}}')[1][0].name == "time"


def repeated(unit):
    return (unit * (40_000 // len(unit) + 1))[:40_000]


@pytest.mark.parametrize("form", [Hermes, Lfm2Calls, Seed], ids=lambda form: form.name)
def test_marks_that_end_nowhere_take_no_longer_than_other_text(form):
    opens, closes = form.opens, form.closes
    began = time.process_time()
    for unit in ("` x", "```", opens, f'{opens}{{"{closes}"', f"{opens}<function=time><parameter=a></parameter>"):
        text, reader = repeated(unit), CallReader(form(), tools=TOOLS)
        content, calls = reader.push(text)
        rest, more = reader.flush()
        assert (content + rest, calls + more) == (text, [])
    assert time.process_time() - began < 15


SCHEMA = {
    "type": "object",
    "$defs": {"size": {"anyOf": [{"$ref": "#/$defs/count"}, {"type": "null"}]}, "count": {"type": "integer"}},
    "properties": {
        "zip": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "package": {"type": "object"},
        "tags": {"items": {"type": "string"}},
        "size": {"$ref": "#/$defs/size"},
        "note": {"type": ["string", "null"]},
        "unit": {"enum": ["1", "2"]},
        "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        "all": {"allOf": [{"description": "any"}, {"type": "boolean"}]},
        "loop": {"$ref": "#/properties/loop"},
        "any": {},
    },
}
TYPED = Signatures([ToolSignature.of("f", SCHEMA)])
VALUES = [
    ("zip", "90210", "90210"),
    ("zip", "1.10", "1.10"),
    ("zip", '{"name": "x", "version": "1.0"}', '{"name": "x", "version": "1.0"}'),
    ("zip", "null", "null"),
    ("zip", "  x", "  x"),
    ("unit", "1", "1"),
    ("count", "90210", 90210),
    ("count", " -3 ", -3),
    ("count", "3.0", 3),
    ("count", "3.5", "3.5"),
    ("count", "9223372036854775807", 9223372036854775807),
    ("count", "many", "many"),
    ("count", "9" * 5000, "9" * 5000),
    ("ratio", "1.10", 1.1),
    ("ratio", "7", 7),
    ("ratio", "-2e3", -2000.0),
    ("ratio", "1e999", "1e999"),
    ("ratio", "NaN", "NaN"),
    ("on", "true", True),
    ("on", "True", True),
    ("on", "False", False),
    ("on", "yes", "yes"),
    ("package", '{"a": [1, true]}', {"a": [1, True]}),
    ("package", "{'a': [1, True, None]}", {"a": [1, True, None]}),
    ("package", "[1]", "[1]"),
    ("package", "{1: 2}", "{1: 2}"),
    ("package", '{"a": 1', '{"a": 1'),
    ("tags", '["a", "b"]', ["a", "b"]),
    ("tags", "['a']", ["a"]),
    ("tags", "a", "a"),
    ("size", "3", 3),
    ("size", "None", None),
    ("size", "null", None),
    ("note", "null", None),
    ("note", "3", "3"),
    ("either", "3", 3),
    ("either", "x", "x"),
    ("all", "true", True),
]
TAG_WAYS = {
    Seed: "<function=f><parameter={}>\n{}\n</parameter></function>",
    QwenTags: "<function=f><parameter={}>\n{}\n</parameter></function>",
    GlmTags: "f<arg_key>{}</arg_key><arg_value>{}</arg_value>",
    MiniMax: '<invoke name="f"><parameter name="{}">{}</parameter></invoke>',
}


@pytest.mark.parametrize("form", TAG_WAYS, ids=lambda form: form.name)
@pytest.mark.parametrize(("name", "text", "value"), VALUES)
def test_values_of_tags_are_converted_by_the_schema(form, name, text, value):
    (call,) = form().read(TAG_WAYS[form].format(name, text), TYPED)
    assert json.loads(call.arguments) == {name: value}
    assert type(json.loads(call.arguments)[name]) is type(value)


@pytest.mark.parametrize("form", TAG_WAYS, ids=lambda form: form.name)
@pytest.mark.parametrize("tools", [TYPED, TOOLS, None], ids=["open", "unknown", "none"])
@pytest.mark.parametrize(
    ("text", "text_first", "json_first"),
    [
        ("90210", "90210", 90210),
        ("1.10", "1.10", 1.1),
        ("True", "True", True),
        ("None", "None", None),
        ("null", None, None),
        ('{"a": 1}', '{"a": 1}', {"a": 1}),
        ("['a']", "['a']", ["a"]),
        ('"3"', '"3"', '"3"'),
        ("007", "007", "007"),
        ("so", "so", "so"),
    ],
)
def test_values_without_a_type_are_what_the_family_takes_them_for(form, tools, text, text_first, json_first):
    for name in ("any", "loop", "other"):
        (call,) = form().read(TAG_WAYS[form].format(name, text), tools)
        assert json.loads(call.arguments) == {name: json_first if form is GlmTags else text_first}


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const", "properties", "items", "#/", "a"]
                ),
                inner,
            )
        ),
    )
)
def test_types_are_read_from_any_schema(schema):
    signature = ToolSignature.of("f", {"properties": {"a": schema}, "$defs": schema})
    types = signature.types("a")
    assert types is None or all(isinstance(one, str) for one in types)


LONE = [r"\ud83d", r"\udc00", r"\uDBFF", r"\udc00\ud83d"]


@pytest.mark.parametrize("lone", LONE)
def test_half_of_a_surrogate_pair_is_replaced(lone):
    held, meant = "\ufffd" * lone.count("\\"), f"a{lone}b"
    texts = {
        Hermes: f'<tool_call>{{"name": "time", "arguments": {{"{meant}": ["{meant}"]}}}}</tool_call>',
        BareJson: f'{{"name": "time", "arguments": "{{\\"{meant}\\": [\\"{meant}\\"]}}"}}',
        LlamaJson: json.dumps({"name": "time", "parameters": f'{{"{meant}": ["{meant}"]}}'}),
        Lfm2Calls: f"<|tool_call_start|>[time(a={{'{meant}': ['{meant}']}})]<|tool_call_end|>",
        OlmoCalls: f"<function_calls>time(a={{'{meant}': ['{meant}']}})</function_calls>",
        GemmaCalls: f'<|tool_call>call:time{{"{meant}": ["{meant}"]}}<tool_call|>',
        GlmTags: f'<tool_call>time<arg_key>a</arg_key><arg_value>{{"{meant}": ["{meant}"]}}</arg_value></tool_call>',
        DeepSeek: f'{DeepSeek.opens}{BEGIN}time{BETWEEN}{{"{meant}": ["{meant}"]}}{END}{DeepSeek.closes}',
        Harmony: f'commentary to=functions.time json{{"{meant}": ["{meant}"]}}',
    }
    for form, text in texts.items():
        reader = CallReader(form(), tools=TOOLS)
        for call in reader.push(text)[1] + reader.flush()[1]:
            call.arguments.encode()
            found = json.loads(call.arguments)
            json.dumps(found, ensure_ascii=False).encode()
            expected = {f"a{held}b": [f"a{held}b"]}
            assert found in (expected, {"a": expected})
        assert reader.calls == 1


def test_surrogate_pairs_and_other_escapes_stay():
    arguments = r'{"a": "\ud83d\ude00 \\ud83d \u00e9 \/ \n"}'
    (call,) = Hermes().parse(f'{{"name": "f", "arguments": {json.dumps(arguments)}}}')
    assert call.arguments == arguments
    (call,) = Hermes().parse(f'{{"name": "f", "arguments": {arguments}}}')
    assert json.loads(call.arguments) == {"a": "\U0001f600 \\ud83d é / \n"}


@pytest.mark.parametrize("form", ALL, ids=lambda form: form.name)
def test_a_backslash_that_begins_no_escape_stands_for_itself(form):
    meant = r"C:\users\{x}\d+"
    text = WAYS[form]("HERE").replace("HERE", meant)
    assert read(CallReader(form(), tools=TOOLS), text, range(400)) == ("", [("time", {"a": meant})])


def test_raw_strings_of_python_stay():
    (call,) = Lfm2Calls().parse(r"""[f(a=r"\d\\", b='\d', c="\x41\101\U0001f600\N")]""")
    assert json.loads(call.arguments) == {"a": "\\d\\\\", "b": "\\d", "c": "AA\U0001f600\\N"}
