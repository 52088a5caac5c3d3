"""Constraints in JavaScript: the masks of llguidance, bit by bit, and receipts of texts that were drawn under them."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact.engine.model import prompt_id
from intact.engine.sampling import constraints
from intact.engine.sampling.parameters import SamplingParameters
from intact.receipts.document import Receipt
from intact.receipts.request import sampling_to_document
from js.conftest import node
from js.constrained import ASKED, ITEMS, PERSON, SUM, Constrained, other_constraint, other_token
from support.bombs import BOMBS
from support.forger import altered, forge
from support.models import real_model
from support.tiny import write_tiny

pytest.importorskip("llguidance")
Case = tuple[str, str]
Ask = Callable[[Path, list[dict[str, Any]]], list[Any]]
CLASSES = re.compile(r"\\[wdsp]")

REGEXES = (
    r"[a-z]+", r"(ab)?", r"\d{4}-\d{2}-\d{2}", r"The (sky|sea) is (blue|gr[ae]y)\.", r"[^a]{3}", r"(?i)hello world",
    r"\w+@\w+\.com", r" [A-Z][a-z]{2,8}( [A-Z][a-z]+)*", r"\p{L}+", r"é{2}\s+x", r"(a|b)*c", r'"[^"\\]*"', "^yes$",
)  # fmt: skip
TREE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "k": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
    "required": ["v", "k"],
    "additionalProperties": False,
}
SCHEMAS: tuple[dict[str, Any], ...] = (
    {},
    PERSON,
    {**PERSON, "additionalProperties": False, "title": "Person"},
    {"$defs": {"n": TREE}, "$ref": "#/$defs/n"},
    {"enum": ["a", "b c", 1, None, True, {"x": [1, 2], "y": '\n"q'}]},
    {"type": "string", "pattern": r"^[a-c]+\s?$"},
    {"type": "string", "pattern": "sky"},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "array", "items": {"type": "number"}, "minItems": 1},
    {"type": "array", "prefixItems": [{"type": "null"}, {"const": "z"}], "items": False},
    {"type": "array", "prefixItems": [{"type": "null"}], "minItems": 2, "maxItems": 4},
    {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "boolean"}}},
    {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "required": ["b", "q"]},
    {"type": "integer", "minimum": -17, "exclusiveMaximum": 1234},
    {"type": "integer", "minimum": 97},
    {"type": "integer", "maximum": -3},
    {"type": ["integer", "null"]},
)
GRAMMARS = (
    'start: "a" "b"*\n%ignore / +/',
    'start: "x" A?\nA: /y*/',
    'start: A "c" | B\nA: /ab/\nB: /abcd/',
    SUM,
    'start: "The answer is " ("yes" | "no"i) "."\n',
    ITEMS,
    'start: sentence+\nsentence: who what object\nwho: "I"\n   | "You"\nwhat: " see "\nobject: /[a-z]+/ ". " // none\n',
)
CASES: tuple[Case, ...] = (
    *(("regex", text) for text in REGEXES),
    *(("json_schema", json.dumps(schema, separators=(",", ":"), ensure_ascii=False)) for schema in SCHEMAS),
    *(("grammar", text) for text in GRAMMARS),
)
REFUSED: tuple[Case, ...] = (
    ("regex", r"a\b"),
    ("regex", "[a&&b]"),
    ("regex", "(?i)é"),
    ("regex", "("),
    ("json_schema", '{"type":"string","format":"date"}'),
    ("json_schema", '{"type":"number","minimum":0}'),
    ("json_schema", '{"type":"object","patternProperties":{"a":{}}}'),
    ("json_schema", '{"type":"object","properties":{"1":{}}}'),
    ("json_schema", '{"enum":[1.5]}'),
    ("json_schema", "[" * 30_000 + "]" * 30_000),
    ("json_schema", '{"items":' * 6_000 + "{}" + "}" * 6_000),
    ("grammar", 'start: "a" <|im_end|>'),
    ("grammar", "start: A & B\nA: /a/\nB: /b/"),
    ("grammar", 'start: a\na: b "x"\nb: a "y" | "z"'),
    ("grammar", "%import common.INT\nstart: INT"),
    ("grammar", 'rule: "a"'),
)
"""Forms that this package does not compile, or that nothing compiles."""


def walk(model: intact.Model, case: Case, seed: int) -> tuple[list[int], list[str]]:
    """Return a random text under a constraint, and the digest of llguidance's mask before each of its tokens.

    Where a class is Unicode's, the text is ASCII: engines have different versions of Unicode.
    """
    kind, text = case
    matcher = constraints.compile(model.tokenizer, model.program.vocabulary, SamplingParameters(**{kind: text}))
    assert matcher is not None
    rng, ends = random.Random(seed), model.tokenizer.eos_ids
    follows = bytes.isascii if CLASSES.search(text) else bool
    tokens: list[int] = []
    digests = []
    for _ in range(24):
        mask = matcher.mask()[: -(-model.program.vocabulary // 32)]  # without a word that is always empty
        digests.append(hashlib.sha256(mask.tobytes()).hexdigest())
        allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()
        going_on = [token for token in allowed if token not in ends and follows(model.tokenizer.token_bytes(token))]
        if not going_on or (len(going_on) < len(allowed) and rng.random() < 0.15):
            return tokens, digests
        short = [token for token in going_on if len(model.tokenizer.token_bytes(token)) <= 2] or going_on
        tokens.append(rng.choice(short if rng.random() < 0.4 else going_on))
        matcher.accept(tokens[-1])
    return tokens[:-1], digests


def same_masks(path: Path, seeds: int) -> None:
    model = intact.load(path)
    cases = [(case, seed) for case in CASES for seed in range(seeds)]
    walks = [walk(model, case, seed) for case, seed in cases]
    jobs = [
        {"kind": kind, "text": text, "tokens": tokens}
        for ((kind, text), _), (tokens, _) in zip(cases, walks, strict=True)
    ]
    found = json.loads(node(Path(__file__).with_name("masks.mjs"), given={"model": str(path), "cases": jobs}))
    for job, (tokens, wanted), one in zip(jobs, walks, found, strict=True):
        assert one == wanted, (job, model.tokenizer.decode(tokens))
    assert sum(len(tokens) for tokens, _ in walks) > 2 * len(walks)


def test_masks_of_a_tiny_vocabulary(has_node: None, tmp_path: Path) -> None:
    """Every constraint, along random texts: the tokens that may follow, bit by bit."""
    same_masks(write_tiny(tmp_path / "tiny.gguf"), seeds=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen-coder-0.5b"])
def test_masks_of_a_real_vocabulary(has_node: None, name: str) -> None:
    """The same with words for tokens, where a fixed text is written as the tokenizer writes it."""
    same_masks(real_model(name), seeds=2)


def test_what_is_not_compiled_says_so(has_node: None, tmp_path: Path) -> None:
    """So does what would take more than it may; none takes long."""
    path = write_tiny(tmp_path / "tiny.gguf")
    bombs = [next(iter(given.items())) for given in BOMBS.values()]
    more = [(kind, text if isinstance(text, str) else json.dumps(text)) for kind, text in bombs]
    chain = "start: r0\n" + "\n".join(f"r{i}: r{i + 1} r{i + 1}" for i in range(2500)) + '\nr2500: "z"'
    large = [("grammar", chain), ("regex", "((a?){1000}){1000}"), ("regex", "(" * 5000 + ")" * 5000)]
    jobs = [{"kind": kind, "text": text, "tokens": []} for kind, text in (*REFUSED, *more, *large)]
    found = json.loads(node(Path(__file__).with_name("masks.mjs"), given={"model": str(path), "cases": jobs}))
    assert [job for job, one in zip(jobs, found, strict=True) if not isinstance(one, str)] == []


def verdicts(package: Path, file: Path, model: Path, expected: int) -> list[tuple[str, str | None, int | None]]:
    """Have the package's command verify a file of receipts."""
    command = (package / "bin" / "intact.mjs", "verify", file, "--model", model, "--json")
    found = json.loads(node(*command, expected=expected))["receipts"]
    return [(one["outcome"], one["what"], one["position"]) for one in found]


def write(file: Path, receipts: list[Receipt]) -> Path:
    file.write_bytes(b"".join(receipt.encode() + b"\n" for receipt in receipts))
    return file


def test_texts_under_constraints_are_the_same(answers: Ask, constrained: Constrained) -> None:
    """The package draws the same tokens, with the same log-probabilities, as the Python package."""
    path, model, receipts = constrained
    prompt = model.tokenizer.encode("Who?")
    jobs = [
        {
            "op": "generate",
            "prompt": prompt,
            "branch": [prompt_id(prompt), 0],
            "parameters": sampling_to_document(receipt.header.request.parameters),
        }
        for receipt in receipts
    ]
    for receipt, one in zip(receipts, answers(path, jobs), strict=True):
        wanted = receipt.output
        assert one == {
            "tokens": list(wanted.tokens),
            "logprobs": list(wanted.logprobs or ()),
            "text": wanted.text,
            "finish": wanted.finish,
        }


def test_receipts_of_constrained_texts(package: Path, constrained: Constrained, tmp_path: Path) -> None:
    """True ones are true. A token that was changed is false, and so is another constraint beside the true chain."""
    path, _, receipts = constrained
    assert verdicts(package, write(tmp_path / "true.receipt", receipts), path, expected=0) == [
        ("true", None, None) for _ in receipts
    ]
    forged = list(map(other_token, receipts))
    assert verdicts(package, write(tmp_path / "token.receipt", forged), path, expected=1) == [
        ("false", "token", 2) for _ in receipts
    ]
    others = list(map(other_constraint, receipts))
    assert verdicts(package, write(tmp_path / "constraint.receipt", others), path, expected=1) == [
        ("false", "hidden state", 0) for _ in receipts
    ]


def test_what_another_compiler_cannot_tell(package: Path, constrained: Constrained, tmp_path: Path) -> None:
    """A liar with the model, who computes the chain of another constraint: not true, and not false for sure."""
    path, model, receipts = constrained
    receipt = receipts[1]
    loose = altered(receipt.header, regex="[a-z0-9 ]{14,22}")
    output = receipt.output
    liars = [
        forge(model, loose, output),
        forge(model, receipt.header, replace(output, tokens=output.tokens[:5], finish="stop", text="", logprobs=None)),
        forge(model, altered(receipt.header, regex=r"a\b"), output),
    ]
    file = write(tmp_path / "liars.receipt", liars)
    assert [one[:2] for one in verdicts(package, file, path, expected=3)] == [("unverifiable", "constraint")] * 3
    lie = forge(model, receipt.header, replace(output, text="Yes"))
    assert verdicts(package, write(tmp_path / "text.receipt", [lie]), path, expected=1)[0][:2] == ("false", "text")


@pytest.mark.slow
def test_receipts_of_the_default_model(package: Path, tmp_path: Path) -> None:
    path = real_model("smollm2-135m")
    model = intact.load(path)
    chat = [{"role": "user", "content": "Name a colour and three things that have it."}]
    receipts = [
        model.chat(chat, max_tokens=60, receipt=True, **given).receipt
        for given in (ASKED["greedy schema"], ASKED["drawn schema"], ASKED["drawn regex"])
    ]
    assert verdicts(package, write(tmp_path / "a.receipt", receipts), path, expected=0) == [("true", None, None)] * 3
