"""Chat templates: the dialect, and the limits."""

import re
import threading
from collections import UserDict
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.text import ChatTemplate, template, template_worker

HI = [{"role": "user", "content": "Hi"}]


class Words(StrEnum):
    ONE = "one"


STUBBORN = """{% set ns = namespace(x=[1], y=[1]) %}
{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}"""
"""One step in C that takes centuries, and looks at no signal."""


def render(source: str, messages: Any = HI, **variables: Any) -> str:
    return ChatTemplate(
        source, tokens={"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}, source="x.gguf", seconds=0.5
    ).render(messages, **variables)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m['content'] }}{% endfor %}", "user: Hi"),
        ("{{ bos_token }}{{ eos_token }}{{ pad_token }}", "<s></s><pad>"),
        ("{{ unk_token }}{{ unk_token is defined }}", "False"),
        ("{% if add_generation_prompt %}go{% endif %}", "go"),
        ("a\n  {% if true %}\n  b\n  {% endif %}\nc", "a\n  b\nc"),
        (
            "{% for i in range(9) %}{% if i==2 %}{% continue %}{% elif i > 3 %}{% break %}{% endif %}{{i}}{% endfor %}",
            "013",
        ),
        ("{{ {'b': 'é<', 'a': [1, none]} | tojson }}", '{"b": "é<", "a": [1, null]}'),
        ("{{ [1, {'a': 2}] | tojson(indent=2) }}", '[\n  1,\n  {\n    "a": 2\n  }\n]'),
        ("{{ strftime_now('%d %b %Y') }}", "05 Mar 2024"),
        ("{% generation %}x{% endgeneration %}", "x"),
        ("{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "6"),
        ("{% macro f(x, y=2) %}{{ x * y }}{% endmacro %}{{ f(3) }}", "6"),
        ("{{ messages[::-1][0].content[1:] ~ 'x' ~ 1 }}", "ix1"),
        ("{{ 'a,b'.split(',') | join('-') | upper }}{{ ' x '.strip() }}{{ 'aXa'.replace('X', '--') }}", "A-Bxa--a"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}", "['Hi']"),
        ("{{ '%s-%05.1f' % ('a', 2) }} {{ '{:>4}|{}'.format('b', 3) }}", "a-002.0    b|3"),
        ("{{ 'a' if tools is none else 'b' }}{{ nothing is defined }}{{ x | default('y') }}", "aFalsey"),
        (
            "{{ 'ab' * 2 }}{{ 7 // 2 }}{{ 2 ** 5 }}{{ [1] + [2] }}{{ (1, 2)[0] }}{{ 'b' in 'abc' }}",
            "abab332[1, 2]1True",
        ),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{{ loop.last }}{% endfor %}", "a1True"),
        (
            "{{ 'a role' | title }}{{ [1, 2, 1] | unique | join }}{{ 'a b' | wordcount }}{{ 1 < 2 <= 2 }}",
            "A Role122True",
        ),
        ("{{ 'a\nb' | indent(2) }}{{ [3, 1] | sort | first }}{{ [1, 2] | sum }}{{ 'x' | length }}", "a\n  b131"),
        ("{% call f() %}x{% endcall %}{% macro f() %}[{{ caller() }}]{% endmacro %}", None),
    ],
)
def test_the_dialect_of_chat_templates(source: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ParameterError, match="'f' is undefined"):
            render(source)
    else:
        assert render(source, now=datetime(2024, 3, 5)) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{{ range(99999) | select('in', range(99999) | list) | list | length }}",
        "{{ ([[1]] * 99999) | sum(start=[]) | length }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{{ loop([1]) }}{% endfor %}",
        "{% set a = [[1] * 99999] * 30 %}{% set b = [[1] * 99999] * 30 %}" + "{% if a == b %}{% endif %}" * 3000,
        "{% set a = [[1] * 99999] * 30 %}{% set b = [[1] * 99999] * 30 %}{{ a" + " == b == a" * 3000 + " }}",
    ],
)
def test_a_template_that_takes_too_long_is_stopped(source: str) -> None:
    with pytest.raises((FormatError, ParameterError), match=r"x.gguf (was stopped|fails).*(took more than|Recursion)"):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10 ** 9 }}",
        "{{ 10 ** 9 * 'a' }}",
        "{{ ('a' * 10 ** 9) | length }}",
        "{{ [1] * 10 ** 9 }}",
        "{{ 'a' | center(10 ** 9) }}",
        "{{ 'a'.ljust(10 ** 9) }}",
        "{{ 'a'.zfill(10 ** 9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10 ** 9, 1) }}",
        "{{ '%.999999999f' | format(1.5) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10 ** 9) }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ ('a-' * 10 ** 8) | title | length }}",
        "{{ ('a ' * 10 ** 8) | wordcount }}",
        "{{ ('<a>' * 10 ** 8) | striptags | length }}",
        "{{ ('%' * 10 ** 8) | urlencode | length }}",
        "{{ ([1] * 10 ** 8) | unique | list | length }}",
        "{{ 2.5 | round(10 ** 9, 'ceil') }}",
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ ns.x }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = {1: n.x, 2: n.x} %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x }}",
        "{% set ns = namespace(x=99) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{% set b = 'a' * 10 ** 6 %}{{ b.replace('', b) | length }}",
        "{% set b = 'a' * 10 ** 6 %}{{ b | replace('a', b) | length }}",
        "{% set b = 'a' * 10 ** 6 %}{{ range(9999) | join(b) | length }}",
        "{% set b = 'a' * 10 ** 6 %}{{ b.join(['x'] * 9999) | length }}",
        "{% set b = 'a' * 10 ** 6 %}{{ range(9999) | map(attribute='x', default=b) | join | length }}",
        "{% set b = 'a' * 10 ** 6 %}{% set c %}{% for i in range(9999) %}{{ b }}{% endfor %}{% endset %}",
        "{% set b = 'a' * 10 ** 6 %}{% for i in range(9999) %}{{ b }}{% endfor %}",
        "{% set b = 'a' * 10 ** 6 %}{% set ns = namespace(x=b) %}{{ ([ns] * 9999) | join(attribute='x') | length }}",
        "{{ ('x\n' * 10 ** 6) | indent(9999) | length }}",
        "{{ [1] | batch(10 ** 9, 1) | list | length }}",
        "{{ [1] | slice(10 ** 9, 1) | list | length }}",
        "{{ [[1]] | tojson(indent=10 ** 9) }}",
        "{{ [[1]] | tojson(indent='a' * 10 ** 8) }}",
    ],
)
def test_a_template_that_makes_too_much_is_stopped(source: str) -> None:
    with pytest.raises(
        FormatError,
        match=r"the chat template of x.gguf was stopped(, line \d+)?: it (took|used|wrote) more",
    ):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ (1).to_bytes(10 ** 9, 'big') }}",
        "{{ '\t'.expandtabs(10 ** 9) }}",
        "{{ lipsum(n=10 ** 6) }}",
        "{{ [1, 2] | random }}",
        "{{ messages.append(1) }}",
        "{% include 'x' %}",
        "{{ nothing.at.all }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 1 / 0 }}",
    ],
)
def test_what_a_template_may_not_do_is_an_error_that_names_it(source: str) -> None:
    with pytest.raises((ParameterError, FormatError), match=r"the chat template of x.gguf"):
        render(source)


LOOKS = "messages|map(attribute='content')"


@pytest.mark.parametrize(
    ("source", "expression", "kind"),
    [
        ("{{ messages | map(attribute='content') }}", LOOKS, "generator"),
        ("{{ raise_exception }}", "raise_exception", "function"),
        ("{{ strftime_now }}", "strftime_now", "builtin_function_or_method"),
        ("{{ joiner() }}", "joiner()", "Joiner"),
        ("{{ messages[0].items }}", "messages[0].items", "builtin_function_or_method"),
        ("{{ messages[0].items() }}", "messages[0].items()", "dict_items"),
        ("{{ range(3) }}", "range(3)", "range"),
        ("{{ namespace() }}", "namespace()", "Namespace"),
        ("{{ self }}", "self", "TemplateReference"),
        ("{% for m in messages %}{{ loop }}{% endfor %}", "loop", "LoopContext"),
        ("{% macro f() %}{% endmacro %}{{ f }}", "f", "Macro"),
        ("{{ [1, {'a': (2, joiner)}] }}", "[1, {'a': (2, joiner)}]", "type"),
        ("{{ {joiner(): 1} }}", "{joiner(): 1}", "Joiner"),
        ("{% set x %}{{ joiner() }}{% endset %}", "joiner()", "Joiner"),
        ("{{ [1] + [joiner()] }}", "[1] + [joiner()]", "Joiner"),
        ("{{ joiner if 1 else 2 }}", "(...)", "type"),
        ("{{ 'a' ~ 1 ~ joiner() }}", "joiner()", "Joiner"),
        ("{{ 'a %s' % joiner() }}", "joiner()", "Joiner"),
        ("{{ 'a %s' % (1, joiner()) }}", "(1, joiner())", "Joiner"),
        ("{{ 'a %s' | format(joiner()) }}", "joiner()", "Joiner"),
        ("{{ 'a %(x)s' | format(x=joiner()) }}", "an argument of |format", "Joiner"),
        ("{{ 'a %s' | format(*[joiner()]) }}", "an argument of |format", "Joiner"),
        ("{{ '{}'.format(joiner()) }}", "an argument of |format", "Joiner"),
        ("{{ '{x}'.format_map({'x': joiner()}) }}", "an argument of |format", "Joiner"),
        ("{{ ('{}' | e).format(joiner()) }}", "an argument of |format", "Joiner"),
        ("{{ ('a' | e).escape(joiner()) }}", "an argument of escape", "Joiner"),
        ("{{ ('a' | e).join([joiner()] | map('default')) }}", "an argument of join", "Joiner"),
        ("{{ joiner() | string }}", "joiner()", "Joiner"),
        ("{{ [joiner()] | map('string') | list }}", "an argument of |string", "Joiner"),
        ("{{ [1, joiner()] | join }}", "[1, joiner()]", "Joiner"),
        ("{{ messages | map('attr', 'items') | join }}", "messages|map('attr', 'items')", "builtin_function_or_method"),
        ("{{ [[joiner()]] | map('join') | list }}", "the input of |join", "Joiner"),
        ("{{ [1, 2] | join(joiner()) }}", "the separator of |join", "Joiner"),
        ("{{ 'a' | replace('a', joiner()) }}", "joiner()", "Joiner"),
        ("{% filter upper %}{{ joiner() }}{% endfilter %}", "joiner()", "Joiner"),
        ("{{ raise_exception(joiner()) }}", "the message of raise_exception", "Joiner"),
        *((f"{{{{ joiner() | {name} }}}}", "joiner()", "Joiner") for name in template_worker.TEXT_FILTERS),
    ],
)
def test_what_has_no_text_of_its_own_is_an_error_and_no_address(source: str, expression: str, kind: str) -> None:
    with pytest.raises(ParameterError, match="cannot be rendered as text") as caught:
        render("\n" + source)
    assert f", line 2: NoText: {expression} is of type {kind}, which" in str(caught.value)
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ messages | map(attribute='content') | join(', ') }}", "Hi"),
        ("{{ ', '.join(messages | map(attribute='content')) }}", "Hi"),
        ("{{ messages[0].values() | join(' ') }}", "user Hi"),
        ("{{ [{'a': 1}, {'a': none}] | join('-', attribute='a') }}", "1-None"),
        (
            "{{ [nothing, none, true, 1.5, (1, 'a'), {'b': [2]}] }}",
            "[Undefined, None, True, 1.5, (1, 'a'), {'b': [2]}]",
        ),
        ("{{ nothing ~ messages[0].x | default('y') ~ ('<' | e) }}", "y&lt;"),
        ("{% set j = joiner('; ') %}{{ j() }}a{{ j() }}b", "a; b"),
        ("{% set n = namespace(x=[1]) %}{{ n.x }}{{ messages | groupby('role') | list | length }}", "[1]1"),
        ("{{ '%s %d' % ('a', 2) }}{{ 7 % 4 }}{{ '{}{x}'.format(1, x=[2]) }}", "a 231[2]"),
        ("{% macro f(x) %}{{ x }}{{ caller() }}{% endmacro %}{% call f('a') %}b{% endcall %}", "ab"),
        ("{{ dict(a=1) | string | upper }}{{ [3, 1] | sort | map('string') | join }}", "{'A': 1}13"),
    ],
)
def test_what_has_a_text_of_its_own_is_written_as_before(source: str, text: str) -> None:
    assert render(source) == text


def test_lists_within_each_other_are_looked_at_once() -> None:
    """Each of sixty lists holds the one before twice; a walk through all of them would take centuries."""
    grown = "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    assert render(grown + "{{ n.x | join | length if nothing else 'done' }}") == "done"
    with pytest.raises(ParameterError, match="type Joiner"):
        render(grown + "{{ [joiner(), n.x] }}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}",
        "{{ 'x' * }}",
        "{{",
        "{% nothing %}",
        "x" * 1_000_001,
        "{{ " + "(" * 5000 + " }}",
        "{% if 1 %}" * 500,
        "{{ " + "1+" * 5000 + "1 }}",
    ],
)
def test_an_unreadable_template_is_an_error_that_says_why(source: str) -> None:
    with pytest.raises(FormatError, match=r"the chat template of x.gguf (is unreadable|has 1,000,001 characters)"):
        render(source)


def test_a_template_of_its_own_is_rendered_when_tools_are_given() -> None:
    both = ChatTemplate("plain", tool_use=ChatTemplate("{{ tools | length }} {{ strftime_now('%Y') }}"))
    now = datetime(2024, 3, 5)
    assert [both.render(HI, now=now, tools=tools) for tools in (None, [], [{}])] == ["plain", "0 2024", "1 2024"]
    assert both.sources == ("plain", "{{ tools | length }} {{ strftime_now('%Y') }}")
    assert both.uses_time
    assert not ChatTemplate("plain").uses_time


def test_a_template_refuses_messages_in_its_own_words() -> None:
    with pytest.raises(ParameterError, match=r"x.gguf refuses these messages: roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


TURNS = """{% for m in messages %}<{{ m.role }}>{{ m.content | trim if trims else m.content }}</>{% endfor %}\
{% if add_generation_prompt %}<assistant>{% endif %}"""


@pytest.mark.parametrize(
    ("content", "trims", "expected"),
    [
        ("It is", False, "<user>Hi</><assistant>It is"),
        ("It is \n", False, "<user>Hi</><assistant>It is \n"),
        (" It is ", True, "<user>Hi</><assistant>It is "),  # the blank behind it is where the answer goes on
        ("/", False, "<user>Hi</><assistant>/"),
    ],
)
def test_an_unfinished_message_ends_the_prompt(content: str, trims: bool, expected: str) -> None:
    messages = [*HI, {"role": "assistant", "content": content}]
    assert render(TURNS, messages, trims=trims, continue_final_message=True) == expected


@pytest.mark.parametrize(
    "last",
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "x", "tool_calls": [{"type": "function", "function": {"name": "f"}}]},
    ],
)
def test_what_is_no_unfinished_message_is_refused(last: Any) -> None:
    with pytest.raises(ParameterError, match="the last message cannot be continued"):
        render(TURNS, [*HI, last], continue_final_message=True)
    with pytest.raises(ParameterError, match="the last message cannot be continued"):
        render(TURNS, [], continue_final_message=True)


def test_a_template_that_leaves_the_last_message_out_cannot_continue_it() -> None:
    with pytest.raises(ParameterError, match=r"x\.gguf leaves out the last message"):
        render("{{ messages[0].content }}", [*HI, {"role": "assistant", "content": "It"}], continue_final_message=True)


@pytest.mark.parametrize("messages", ["Hi", {"role": "user"}, None, 3, [3], [{"content": "Hi"}], [{"role": 3}]])
def test_misshapen_messages_are_refused(messages: Any) -> None:
    with pytest.raises(ParameterError, match="messages"):
        render("x", messages)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"content": None}, "has a 'content' of type NoneType"),
        ({"content": [{"type": "text", "text": "Hi"}]}, "has a 'content' of type list"),
        ({}, "has no 'content'"),
    ],
)
def test_content_that_a_template_cannot_take_is_named(content: Any, found: str) -> None:
    messages = [*HI, {"role": "user", **content}]
    with pytest.raises(ParameterError, match=re.escape(f"; messages[1] {found}: this template may expect a string")):
        render("{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}", messages)


def test_limits_hold_in_every_thread() -> None:
    endless = ChatTemplate(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", seconds=0.3
    )
    caught: list[Exception] = []

    def run() -> None:
        try:
            endless.render(HI)
        except Exception as error:
            caught.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [type(error) for error in caught] == [FormatError] * 3


def test_a_template_that_ends_its_process_is_an_error_and_the_next_is_rendered() -> None:
    started = template._renderer.started
    with pytest.raises(FormatError, match=r"x.gguf was stopped: it took more than 0.75 s"):
        render(STUBBORN)
    assert render("{{ messages[0].content }}") == "Hi"
    assert template._renderer.started <= started + 2


def test_what_stays_within_the_limits_starts_no_process() -> None:
    render("a")
    started = template._renderer.started
    assert [render(text) for text in ("b", "c")] == ["b", "c"]
    with pytest.raises(FormatError, match=r"line 1: it took more than 0.5 s"):
        render("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
    assert template._renderer.started == started


def test_more_templates_than_are_kept_are_compiled_again() -> None:
    several = [ChatTemplate(f"{number} {{{{ messages[0].content }}}}") for number in range(70)]
    for _ in range(2):
        assert [one.render(HI) for one in several] == [f"{number} Hi" for number in range(70)]


def test_a_process_that_cannot_be_started_is_an_error_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    template._renderer.end()
    monkeypatch.setattr("intact._base.process.worker.sys.executable", "/no/such/python")
    with pytest.raises(FormatError, match=r"x.gguf cannot be rendered here: cannot start a process: No such"):
        render("x")
    monkeypatch.undo()
    assert render("x") == "x"


def test_the_process_that_renders_can_open_no_file_and_write_none() -> None:
    render("x")
    process = template._renderer._process
    assert process is not None
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(r"Max open files +0 +0 ", limits)
    assert re.search(r"Max file size +0 +0 ", limits)
    assert re.search(rf"Max address space +{512 << 20} +{512 << 20} ", limits)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), "(1, 2)"),
        ([True, None, 2.5, float("inf")], "[True, None, 2.5, inf]"),
        ({1: {"é": "\ud800"}}, "{1: {'é': '\\ud800'}}"),
        (UserDict({"a": (1,)}), "{'a': (1,)}"),
        (1 << 70, str(1 << 70)),
        ("\ud83d\ude00\x00", "\ud83d\ude00\x00"),
        (Words.ONE, "one"),
    ],
)
def test_variables_arrive_as_they_are(value: Any, expected: str) -> None:
    assert render("{{ value }}", value=value) == expected


def test_variables_that_no_template_could_use_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match=r"value\['a'\]\[1\] must be text, numbers, .* got set"):
        render("x", value={"a": [1, {2}]})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ParameterError, match="value is nested too deeply"):
        render("x", value=endless)


@pytest.mark.parametrize(
    "zone", [None, UTC, timezone(timedelta(hours=5, minutes=30), "IST"), ZoneInfo("Europe/Berlin")], ids=str
)
def test_the_time_has_its_zone(zone: tzinfo | None) -> None:
    now = datetime(2024, 7, 5, 1, 2, 3, 456789, zone)
    pattern = "%Y-%m-%dT%H:%M:%S.%f %z %Z %a %j"
    assert render(f"{{{{ strftime_now('{pattern}') }}}}", now=now) == now.strftime(pattern)


def test_the_process_is_started_ahead_without_waiting() -> None:
    template._renderer.end()
    started = template._renderer.started
    template.prepare()
    assert template._renderer.started == started + 1
    assert render("x") == "x"
    assert template._renderer.started == started + 1


def test_a_long_conversation_is_within_the_limits() -> None:
    source = "{% for m in messages %}{{ '<' + m.role + '>' + m.content | trim + '</>' }}{% endfor %}"
    turns = [{"role": "user", "content": "word " * 1000}] * 1000
    assert len(render(source, turns)) > 4_000_000


def test_a_template_that_joins_arguments_to_texts_gets_them_as_json() -> None:
    source = (
        "{% for call in messages[0].tool_calls %}{{ call.function.name + ' ' + call.function.arguments }}{% endfor %}"
    )
    for arguments in ({"city": "Öslo"}, '{"city": "Öslo"}'):
        calls = [{"function": {"name": "f", "arguments": arguments}}]
        assert render(source, [{"role": "assistant", "tool_calls": calls}]) == 'f {"city": "Öslo"}'
