"""Constraints: whatever is drawn under the masks matches; what cannot be used is an error of that request alone."""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from intact._base.errors import CapacityError, ConstraintError, ParameterError
from intact._base.process import LimitReached, TimedOut, WorkerProcess
from intact.checkpoints.formats.checkpoint import open_checkpoint
from intact.engine.sampling import constraints, grammars
from intact.engine.sampling.constraints import Matcher
from intact.engine.sampling.parameters import Constraint, SamplingParameters
from intact.text.tokenizer import Tokenizer
from support.bombs import BOMBS, contained
from support.models import real_model
from text.vocabularies import byte_level, pieces

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("llguidance")

TINY = {"bytes": byte_level, "pieces": pieces}
REAL = ("smollm2-135m", "gemma3-270m", "qwen-coder-0.5b")
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "é", "\U0001f600"]}, "maxItems": 3},
        "next": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
REGEXES = [r"[a-z]{3,9} (0|[1-9][0-9]{0,3})", r"(hello|wörld|[α-ωά]{1,4}){1,3}", r"a?", r"[^x]{2,5}x"]
GRAMMAR = 'start: sum\nsum: NUMBER | NUMBER ("+" | "-") sum | "(" sum ")"\nNUMBER: /[0-9]{1,3}/\n'


def tokenizer_of(name: str) -> Tokenizer:
    if name in TINY:
        return Tokenizer.from_gguf(TINY[name]())
    return Tokenizer.from_checkpoint(open_checkpoint(real_model(name)))


@pytest.fixture(scope="module", params=[*TINY, *REAL])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return tokenizer_of(request.param)


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return tokenizer_of("bytes")


def start(tokenizer: Tokenizer, **constraint: Any) -> Matcher:
    made = constraints.compile(tokenizer, tokenizer.size + 70, SamplingParameters(**constraint))
    assert made is not None
    return made


def tokens_of(mask: NDArray[np.uint32]) -> NDArray[np.int64]:
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))


def walk(tokenizer: Tokenizer, matcher: Matcher, rng: np.random.Generator, most: int = 400) -> str | None:
    """A text drawn with uniform logits over the masks, None where it has not ended in time."""
    drawn: list[int] = []
    for _ in range(most):
        may = tokens_of(matcher.mask())
        assert may[-1] < tokenizer.size
        ends = [token for token in may.tolist() if token in tokenizer.eos_ids]
        assert bool(ends) == matcher._inner.is_accepting()
        assert not matcher._inner.is_stopped() or len(ends) == len(may)
        token = ends[0] if ends and rng.integers(0, 3) == 0 else int(rng.choice(may))
        matcher.accept(token)
        if token in tokenizer.eos_ids:
            assert matcher._inner.is_stopped()
            return b"".join(tokenizer.token_bytes(t) for t in drawn).decode()
        assert not tokenizer.is_special(token)
        drawn.append(token)
    return None


@pytest.mark.parametrize("pattern", REGEXES)
def test_walks_match_their_regular_expression(tokenizer: Tokenizer, pattern: str) -> None:
    plain = re.compile(pattern, re.DOTALL)
    rng = np.random.default_rng(1)
    texts = [walk(tokenizer, start(tokenizer, regex=pattern), rng) for _ in range(15)]
    for text in texts:
        assert text is not None
        assert plain.fullmatch(text), text


def test_walks_are_json_of_their_schema(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(2)
    texts = [walk(tokenizer, start(tokenizer, json_schema=SCHEMA), rng) for _ in range(15)]
    ended = [text for text in texts if text is not None]
    assert len(ended) > 9
    for text in ended:
        jsonschema.validate(json.loads(text), SCHEMA)
    assert len(set(ended)) > 1


def test_walks_are_of_their_grammar(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(3)
    texts = [walk(tokenizer, start(tokenizer, grammar=GRAMMAR), rng) for _ in range(15)]
    ended = [text for text in texts if text is not None]
    assert len(ended) > 3
    for text in ended:
        assert set(text) <= set("0123456789+-()")
        assert isinstance(eval(re.sub(r"\b0+(?=\d)", "", text)), int)


def test_a_text_can_be_written_as_it_is_encoded(tokenizer: Tokenizer) -> None:
    """The tokens of a text in the tokenizer's own way stay within the masks, where the text matches."""
    text = '{"name": "hello", "age": 7, "tags": []}'
    matcher = start(tokenizer, json_schema=SCHEMA)
    for token in tokenizer.encode("x" + text, bos=False)[len(tokenizer.encode("x", bos=False)) :]:
        assert token in tokens_of(matcher.mask())
        matcher.accept(token)
    assert matcher._inner.is_accepting()


def test_an_end_token_is_allowed_only_where_the_text_may_end(tiny: Tokenizer) -> None:
    a, b = tiny.encode("ab")
    matcher = start(tiny, grammar='start: "a" (<|im_end|> "b" | "b")')
    matcher.accept(a)
    assert tokens_of(matcher.mask()).tolist() == [b]
    matcher.accept(b)
    assert set(tokens_of(matcher.mask()).tolist()) == tiny.eos_ids
    with pytest.raises(ParameterError, match="the grammar allows only tokens here that would end the text"):
        start(tiny, grammar='start: <|im_end|> "b"')


def test_a_grammar_may_name_control_tokens(tiny: Tokenizer) -> None:
    a, b = tiny.encode("ab")
    (control,) = tiny.encode("<|im_start|>", bos=False)
    matcher = start(tiny, grammar='start: "a" <|im_start|> "b"')
    for token in (a, control, b):
        assert tokens_of(matcher.mask()).tolist() == [token]
        matcher.accept(token)
    assert matcher._inner.is_accepting()


@pytest.mark.parametrize("text", ["{  ", "{\n\n", "{\n" + " " * 41])
def test_json_has_no_idle_space(tiny: Tokenizer, text: str) -> None:
    matcher = start(tiny, json_schema={"type": "object"})
    *given, last = [tiny.encode(character)[0] for character in text]
    for token in given:
        matcher.accept(token)
    assert last not in tokens_of(matcher.mask())


def test_masks_have_a_bit_for_each_logit(tiny: Tokenizer) -> None:
    assert len(start(tiny, regex="a").mask()) * 32 >= tiny.size + 70


@pytest.mark.parametrize("way", [Matcher.fork, Matcher.ahead])
def test_a_second_matcher_goes_on_alone(tiny: Tokenizer, way: Callable[[Matcher], Matcher]) -> None:
    matcher = start(tiny, regex="[ab]{2}c")
    a, b, c = (tiny.encode(text)[0] for text in "abc")
    matcher.accept(a)
    first = matcher.mask().copy()
    other = way(matcher)
    np.testing.assert_array_equal(other.mask(), first)
    for token in (b, c):
        other.accept(token)
    assert other._inner.is_stopped()
    np.testing.assert_array_equal(matcher.mask(), first)
    with pytest.raises(ParameterError, match=f"the regex does not allow token {c} here"):
        matcher.accept(c)


def test_a_token_that_is_not_allowed_is_noticed_however_late(tiny: Tokenizer) -> None:
    a, b = tiny.encode("ab")
    other = start(tiny, regex="aa").fork()
    for token in (a, b, a):
        other.accept(token)
    with pytest.raises(ParameterError, match=f"the regex does not allow token {b} here"):
        other.mask()


def test_a_constraint_is_tried_once(tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(constraints, "exceeded_limit", lambda constraint: calls.append(constraint.text) or "")
    for pattern in ("once", "twice", "once", "once"):
        start(tiny, regex=pattern)
    assert calls == ["once", "twice"]


def test_the_matchers_of_several_texts_are_made_ahead(tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], grammars.matcher
    monkeypatch.setattr(grammars, "matcher", lambda *order: made.append(order) or make(*order))
    trunk = start(tiny, regex="[ab]{3}c")
    made.clear()
    trunk.make_ready(5)
    assert len(made) == 5
    forks = [trunk.fork() for _ in range(6)]
    texts = [walk(tiny, fork, np.random.default_rng(i)) for i, fork in enumerate(forks)]
    assert len(made) == 6  # the last was not foreseen
    alone = [walk(tiny, start(tiny, regex="[ab]{3}c"), np.random.default_rng(i)) for i in range(6)]
    assert texts == alone
    assert len(set(texts)) > 2


def test_what_takes_long_to_compile_is_for_one_text_at_a_time(tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "SECONDS", 0.0)
    asked = SamplingParameters(regex="a, which takes its time")
    assert constraints.compile(tiny, tiny.size, asked) is not None
    with pytest.raises(ConstraintError, match=r"takes .* s to compile for each of 2 texts, but only 0 s are allowed"):
        constraints.compile(tiny, tiny.size, asked, texts=2)


def test_no_constraint_needs_no_matcher(tiny: Tokenizer) -> None:
    assert constraints.compile(tiny, tiny.size, SamplingParameters()) is None


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"regex": "("}, r"the regex cannot be used: unclosed group, at character 1: '\('$"),
        ({"regex": "ab[z-a]"}, r"the start must be <= the end, at character 4: 'z-a'$"),
        ({"json_schema": {"type": "string", "pattern": "a)"}}, r"in the regex 'a\)': unopened group, at character 2"),
        ({"grammar": "start: /(/"}, r"the grammar cannot be used: in the regex '\(': unclosed group, at character 1"),
        ({"regex": "(" * 20000 + ")" * 20000}, "the regex cannot be used"),
        ({"regex": r"[^\s\S]"}, "the regex allows no token here"),
        ({"grammar": "start: missing"}, 'the grammar cannot be used: .*unknown name: "missing"'),
        ({"grammar": "start: " + "(" * 20000 + '"a"' + ")" * 20000}, "the grammar cannot be used: .*deeply nested"),
        ({"grammar": "start: start"}, "the grammar allows no token here"),
        ({"grammar": "start: A\nA: " + " & ".join(f"/(.*a.{{{i}}}b.*)/" for i in range(1, 10))}, "the grammar cannot"),
        ({"json_schema": {"type": "integer", "minimum": 3, "maximum": 2}}, "the json_schema cannot be used: Unsatisf"),
        ({"json_schema": {"type": "nothing"}}, "the json_schema cannot be used"),
        ({"json_schema": {"type": "object", "properties": {str(i): {"type": "integer"} for i in range(20000)}}},
         "the json_schema cannot be used: schema too large"),
        ({"json_schema": '{"items":' * 900 + "{}" + "}" * 900}, "json_schema is nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(tiny: Tokenizer, constraint: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        start(tiny, **constraint)
    assert len(str(caught.value)) < 300
    assert walk(tiny, start(tiny, regex="ab"), np.random.default_rng(0)) == "ab"


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_goes_off_elsewhere(tiny: Tokenizer, name: str) -> None:
    with (
        contained(),
        pytest.raises(
            ConstraintError,
            match=r"cannot be used: compiling it ((took|used) more than|crashed its worker process with)",
        ),
    ):
        start(tiny, **BOMBS[name])
    assert walk(tiny, start(tiny, regex="ab"), np.random.default_rng(0)) == "ab"


def test_a_bomb_is_tried_once_and_a_machine_that_was_busy_again(
    tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [TimedOut("was slow"), LimitReached("exploded"), None]

    def ask(*_: object) -> None:
        if outcome := outcomes.pop(0):
            raise outcome

    monkeypatch.setattr(WorkerProcess, "ask", ask)
    for error in ("was slow", "exploded", "exploded", "exploded"):
        with pytest.raises(ConstraintError, match=f"the regex cannot be used: compiling it {error}"):
            start(tiny, regex="harmless, but for what is said of it")
    assert outcomes == [None]


def test_where_no_process_can_be_started_the_error_says_so(tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(CapacityError, match="cannot start a process: No such file or directory"):
        start(tiny, regex="a")


def test_a_trial_has_its_own_stack_smaller_than_that_of_threads() -> None:
    limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
    assert limit == resource.RLIM_INFINITY or limit > grammars.STACK
    nested = "start: r0\n" + "\n".join(f"r{i}: r{i + 1}" for i in range(200)) + '\nr200: "z"'
    assert constraints.exceeded_limit(Constraint("grammar", nested)) == ""


@pytest.mark.parametrize("many", ["s s s | s s", "s s s s s | s s s s | s s s | s s"])
def test_an_ambiguous_grammar_ends_its_own_text_before_its_steps_take_long(tiny: Tokenizer, many: str) -> None:
    (a,) = tiny.encode("a")
    matcher = start(tiny, grammar=f'start: s\ns: {many} | "a" | "b" | ')

    def go_on() -> None:
        for _ in range(150):
            matcher.mask()
            matcher.accept(a)

    with pytest.raises(ParameterError, match=r"items; max is|Too many items"):
        go_on()


def test_a_schema_of_a_hundred_optional_properties_can_be_used(tiny: Tokenizer) -> None:
    field = {"anyOf": [{"type": kind} for kind in ("boolean", "integer", "null")]}
    schema = {"type": "object", "properties": {f"field_{i}": field for i in range(100)}, "additionalProperties": False}
    text = walk(tiny, start(tiny, json_schema=schema), np.random.default_rng(5))
    assert text is not None
    jsonschema.validate(json.loads(text), schema)


def test_a_long_sum_by_an_ambiguous_grammar_can_be_written(tiny: Tokenizer) -> None:
    matcher = start(tiny, grammar='start: e\ne: e ("+" | "*") e | "(" e ")" | /[0-9]+/')
    for token in tiny.encode("+".join(["12*(3+4)"] * 10)):
        matcher.mask()
        matcher.accept(token)
    assert matcher._inner.is_accepting()


def test_a_model_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = tokenizer_of("bytes")
    monkeypatch.setattr(Tokenizer, "eos_ids", frozenset())
    with pytest.raises(ParameterError, match="no end token"):
        start(endless, regex="a")


def test_without_llguidance_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ParameterError, match=r"pip install llguidance$"):
        start(tokenizer_of("bytes"), regex="a")


def test_limits_that_one_text_passes_spoil_no_other(tiny: Tokenizer) -> None:
    a, b = tiny.encode("ab")
    expression = "(a{1,1000}){1,1000}b{9999}"
    before = start(tiny, regex=expression)

    def go_on(matcher: Matcher, tokens: list[int]) -> Matcher:
        for token in tokens:
            matcher.mask()
            matcher.accept(token)
        return matcher

    go_on(before, [a, a])
    with pytest.raises(ParameterError, match="too many expressions"):
        go_on(start(tiny, regex=expression), [a] * 120 + [b])
    after, fork = start(tiny, regex=expression), before.fork()
    for matcher in (before, after, fork, start(tiny, regex=expression)):
        go_on(matcher, [a] * 3 + [b] * 2)
        assert tokens_of(matcher.mask()).tolist() == [b]
    with pytest.raises(ParameterError, match="too many expressions"):  # as it would without all that
        go_on(start(tiny, regex=expression), [a] * 120 + [b])


@pytest.mark.parametrize("ready", [0, 20])
def test_how_far_a_text_comes_does_not_depend_on_others(ready: int) -> None:
    """What one text has found out about a constraint must spare no other its limits."""
    tokenizer = tokenizer_of("smollm2-135m")
    expression = r"(.*a.{100}|.*e.{101}|.*o.{102})t.*"
    plain = [t for t in range(tokenizer.size) if not tokenizer.is_special(t)]
    texts = {token: tokenizer.token_bytes(token) for token in plain}
    single = {text: token for token, text in texts.items() if len(text) == 1}
    long = [t for t, text in texts.items() if len(text) > 5 and sum(byte in b"aeo" for byte in text) > 2]
    drawn = np.random.default_rng(5).choice([t for t in long if texts[t].isascii()], 14).tolist()

    def comes(matcher: Matcher, tokens: list[int]) -> int:
        for i, token in enumerate(tokens):
            try:
                matcher.mask()
            except ParameterError:
                return i
            matcher.accept(token)
        return len(tokens)

    def begin() -> Matcher:
        matcher = start(tokenizer, regex=expression)
        matcher.make_ready(ready)
        return matcher

    last = comes(begin(), drawn)
    assert 1 < last < len(drawn)
    slower = [*drawn[: last - 1], *(single[bytes([byte])] for byte in texts[drawn[last - 1]])]
    assert comes(begin(), slower) == len(slower)
    assert comes(begin(), drawn) == last
    assert comes(begin(), slower) == len(slower)
    trunk = begin()
    assert comes(trunk, drawn[: last - 1]) == last - 1
    other = trunk.fork()
    assert comes(other, slower[last - 1 :]) == len(slower) - last + 1
    assert comes(trunk.ahead(), drawn[last - 1 : last]) == 1
    assert comes(trunk, drawn[last - 1 :]) == 1
