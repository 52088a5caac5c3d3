"""Receipts, true and forged, and the verdict on each: writes the folder `receipts`, or with --check verifies its files.

    PYTHONPATH=tests python conformance/forge.py [--check]

`receipts/model.gguf` is a small random model. `receipts/verdicts.json` lists the files beside it: what each is, and the
`outcome`, `what`, `position` and, of a run, `entry` that a verifier with this model must come to; the last two are null
where a verdict has none. `elsewhere` has the outcome and what where a verifier whose own `method.source` is another
than the receipt's must come to others. Forgers know everything: where a case says *covered*, all that follows from the
lie (headers, chains, scores, votes, costs, the root) is computed anew.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.library import Model
from intact.receipts import canonical
from intact.receipts.document import Receipt
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import ScoreEntry
from intact.solving.receipts.sealed import source
from support.forger import altered, forge
from support.run_forger import cover, loser, swap
from support.tiny import write_tiny

FOLDER = Path(__file__).parent / "receipts"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
QUESTION = "What is 2 + 2?"
RUNS: Mapping[str, Mapping[str, Any]] = {
    "self_consistency": {"n": 4, "max_tokens": 12},
    "best_of_n": {"n": 3, "max_tokens": 10},
    "beam_search": {"n": 4, "width": 2, "steps": 2, "delimiter": "e", "max_tokens": 10},
    "first_finish": {"n": 4, "stop": ("e",), "max_tokens": 60},
    "deepconf": {"n": 2, "top": 3, "keep": 50, "max_tokens": 8},
}


class Case(NamedTuple):
    """A file: its name, what was done, its bytes, and what the verdict must begin with."""

    name: str
    note: str
    data: bytes
    outcome: str
    what: str | None


def edited(document: dict[str, Any], path: str, value: Any) -> bytes:
    """Return a document with one member changed, added, or where the value is `...` taken away; in canonical form."""
    document = json.loads(json.dumps(document))
    *above, last = path.split(".")
    place: Any = document
    for name in above:
        place = place[int(name)] if isinstance(place, list) else place[name]
    key: Any = int(last) if isinstance(place, list) else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return canonical.encode(document)


FORMAT: tuple[tuple[str, Any], ...] = (
    ("format", "receipt"), ("version", 0), ("version", "1"), ("hash", "md5"), ("more", 1),
    ("model", ...), ("numerics", ...), ("request", ...), ("output", ...), ("chain", ...), ("model", None),
    ("model.more", 1), ("model.weights", ...), ("model.weights", "AB" * 32), ("model.weights", "ab" * 31),
    ("model.tensors", 0), ("model.tensors", (1 << 24) + 1), ("model.tensors", True), ("model.template", ""),
    ("model.ends", [2, 0]), ("model.ends", [2, 2]), ("model.ends", [-1]), ("model.name", 7),
    ("numerics.version", 1), ("numerics.profile", "int3"), ("numerics.bits", 5), ("numerics.more", 1),
    ("request.prompt", []), ("request.prompt", [-1]), ("request.prompt", [1 << 31]), ("request.prompt", ["1"]),
    ("request.branch", ["p"] * 17), ("request.branch", [True]), ("request.branch", [None]), ("request.branch", "p"),
    ("request.compiler", "llguidance 1.3.0"), ("request.source.kind", "file"), ("request.source.now", 0),
    ("request.sampling.constraint", {"kind": "regex", "text": "a"}),
    ("request.sampling.temperature", "0.70"), ("request.sampling.temperature", "-0"),
    ("request.sampling.temperature", "1e1"), ("request.sampling.temperature", ".5"),
    ("request.sampling.temperature", "0.1234567"), ("request.sampling.temperature", 1),
    ("request.sampling.temperature", "-1"), ("request.sampling.temperature", "1000.1"),
    ("request.sampling.top_p", "0"), ("request.sampling.top_p", "1.1"), ("request.sampling.min_p", "-0.1"),
    ("request.sampling.typical_p", "0"), ("request.sampling.repetition_penalty", "0"),
    ("request.sampling.repetition_penalty", "101"), ("request.sampling.presence_penalty", "2.1"),
    ("request.sampling.frequency_penalty", "-3"), ("request.sampling.top_k", -1),
    ("request.sampling.min_tokens", 1 << 20), ("request.sampling.max_tokens", 0),
    ("request.sampling.max_tokens", (1 << 30) + 1), ("request.sampling.seed", "+1"),
    ("request.sampling.seed", "01"), ("request.sampling.seed", "-0"), ("request.sampling.seed", str(1 << 64)),
    ("request.sampling.seed", str(-(1 << 63) - 1)), ("request.sampling.seed", 1),
    ("request.sampling.stop", [""]), ("request.sampling.stop", ["a", "a"]),
    ("request.sampling.stop", [str(i) for i in range(257)]), ("request.sampling.stop", ["x" * 1025]),
    ("request.sampling.logit_bias", {"tokens": [2, 1], "values": ["1", "1"]}),
    ("request.sampling.logit_bias", {"tokens": [1], "values": []}),
    ("request.sampling.logit_bias", {"tokens": [1], "values": ["101"]}),
    ("request.sampling.logit_bias", {"tokens": [1], "values": ["inf"]}),
    ("request.sampling.ignore_eos", 1), ("request.sampling.more", 1), ("request.sampling.top_k", ...),
    ("output.tokens", []), ("output.finish", "cancelled"), ("output.text", None), ("output.more", 1),
    ("output.logprobs", [1]), ("output.logprobs.0", 1), ("output.logprobs.0", -(1 << 48) - 1),
    ("chain", ""), ("signature", {}), ("signature", {"key": "00" * 32, "value": "00" * 63}),
)  # fmt: skip


def answers(model: Model) -> Iterator[Case]:
    """Receipts of answers."""
    chat = model.chat(
        MESSAGES, logprobs=True, receipt=True, max_tokens=12, temperature=0.7, seed=3, ignore_eos=True
    ).receipt
    text = model.generate("The sky", receipt=True, max_tokens=6, ignore_eos=True)[0][0].receipt
    penal = model.generate(
        "a b a b", receipt=True, max_tokens=20, temperature=1.0, seed=5, repetition_penalty=1.3, presence_penalty=0.5,
        frequency_penalty=0.25, logit_bias={7: -2.5, 9: float("-inf")}, top_k=50, top_p=0.9, min_p=0.01, typical_p=0.95,
        ignore_eos=True,
    )[0][0].receipt  # fmt: skip
    blake = model.generate("The sky", receipt="blake3", max_tokens=4, ignore_eos=True)[0][0].receipt
    assert chat
    assert text
    assert penal
    assert blake
    for name, receipt in (("chat", chat), ("greedy", text), ("penalties", penal), ("blake3", blake)):
        yield Case(f"true-{name}", "as it was made", receipt.encode(), "true", None)
    yield from formats(chat)
    yield from forged_answers(model, chat, penal)


def formats(chat: Receipt) -> Iterator[Case]:
    """Documents that are no receipts."""
    document = chat.to_document()
    for number, (path, value) in enumerate(FORMAT):
        note = f"{path} is taken away" if value is ... else f"{path} is {json.dumps(value):.60}"
        yield Case(f"format-{number:02}", note, edited(document, path, value), "unverifiable", "format")
    yield Case("version", "of a later version", edited(document, "version", 2), "unverifiable", "version")
    data = chat.encode()
    for name, note, raw in (
        ("space", "a space behind a colon", data.replace(b'":', b'": ', 1)),
        ("order", "members in another order", json.dumps(dict(reversed(list(document.items())))).encode()),
        ("twice", "a member twice", data.replace(b'"version":1', b'"version":1,"version":1')),
        ("fraction", "an integer with a fraction", data.replace(b'"version":1', b'"version":1.0')),
        ("large", "an integer of 2^53", data.replace(b'"top_k":0', b'"top_k":9007199254740992')),
        ("surrogate", "a lone surrogate", data.replace(b'"finish"', b'"finish\\ud800"')),
        ("utf8", "bytes that are no UTF-8", data.replace(b'"finish"', b'"finish\xff"')),
        ("cut", "cut off in the middle", data[: len(data) // 2]),
        ("padding", "the chain with padding", data.replace(b'","format"', b'=","format"', 1)),
    ):
        yield Case(f"raw-{name}", note, raw, "unverifiable", "format")


def forged_answers(model: Model, chat: Receipt, penal: Receipt) -> Iterator[Case]:
    """Documents that are receipts, and lie."""
    header, output, size = chat.header, chat.output, model.program.vocabulary
    for place in (0, 5, len(output.tokens) - 1):
        tokens = list(output.tokens)
        tokens[place] = (tokens[place] + 1) % 256
        lie = replace(output, tokens=tuple(tokens), logprobs=None)
        yield lied(f"token-{place}", f"token {place} is another", replace(chat, output=lie), "token")
        yield lied(f"token-{place}-covered", f"token {place} is another, covered", forge(model, header, lie), "token")
    bare = replace(output, logprobs=None)
    for name, changes in {
        "temperature": {"temperature": 0.71}, "seed": {"seed": 4}, "top-p": {"top_p": 0.5},
        "branch": {"branch": ("p", 7)}, "max-tokens": {"max_tokens": 13}, "ends": {"ignore_eos": False},
    }.items():  # fmt: skip
        other = altered(header, **changes)
        yield lied(f"header-{name}", f"another {name}", replace(chat, header=other), "hidden state")
    yield lied("seed-covered", "another seed, covered", forge(model, altered(header, seed=4), bare), "token")
    yield lied(
        "length-covered",
        "more tokens are allowed, covered",
        forge(model, altered(header, max_tokens=13), output),
        "finish",
    )
    yield lied(
        "penalties-covered", "other penalties, covered",
        forge(model, altered(penal.header, repetition_penalty=3.0, presence_penalty=-2.0), penal.output), "token",
    )  # fmt: skip
    one = list(output.logprobs or ())
    one[4] -= 1
    yield lied("logprob", "a log-probability lower by one", replace(chat, output=replace(output, logprobs=tuple(one))),
               "logprobs")  # fmt: skip
    yield lied("finish", "the finish is another", replace(chat, output=replace(output, finish="stop")), "finish")
    yield lied(
        "text", "the text has a letter more", replace(chat, output=replace(output, text=output.text + "!")), "text"
    )
    short = replace(output, tokens=output.tokens[:-1], logprobs=(output.logprobs or ())[:-1])
    yield lied("short", "the last token is left out", replace(chat, output=short, chain=chat.chain[:-32]), "finish")
    flipped = bytes([*chat.chain[:100], chat.chain[100] ^ 1, *chat.chain[101:]])
    yield lied("chain", "a bit of link 4 is flipped", replace(chat, chain=flipped), "hidden state")
    zero = forge(model, altered(header, branch=("p", 0)), bare)
    yield lied("branch-covered", "another branch, covered", zero, "token")
    source = header.request.source
    assert source
    for name, changed in {
        "message": source.text.replace("blue", "red"), "twice": source.text.replace("{", '{"messages":[],', 1),
        "none": "{}", "json": "{",
    }.items():  # fmt: skip
        false = forge(model, altered(header, source=replace(source, text=changed)), bare)
        yield lied(f"source-{name}", f"the source is {changed:.40}, covered", false, "prompt")
    beyond = altered(header, prompt=(*header.request.prompt[:-1], size), source=None)
    yield lied(
        "prompt-beyond", "a token of the prompt is the vocabulary's size", replace(chat, header=beyond), "prompt"
    )
    last = replace(bare, tokens=(*output.tokens[:-1], size))
    yield lied("token-beyond", "the last token is the vocabulary's size", replace(chat, output=last), "token")
    yield lied("bias-beyond", "a bias of a token that is the vocabulary's size",
               replace(chat, header=altered(header, logit_bias=((size, 1.0),))), "sampling")  # fmt: skip
    for name, what, document in (
        ("weights", "weights", edited(chat.to_document(), "model.weights", "00" * 32)),
        ("tensors", "weights", edited(chat.to_document(), "model.tensors", header.model.tensors + 1)),
        ("tokenizer", "tokenizer", edited(chat.to_document(), "model.tokenizer", "00" * 32)),
        ("template", "template", edited(chat.to_document(), "model.template", None)),
        ("ends", "tokenizer", edited(chat.to_document(), "model.ends", [0])),
        ("numerics", "numerics", edited(chat.to_document(), "numerics.version", "0")),
        ("context", "context", edited(chat.to_document(), "request.prompt", [5] * 600)),
    ):
        yield Case(f"other-{name}", f"it names another {name}", document, "unverifiable", what)
    for name, value in (("profile", "fp32"), ("bits", 4)):  # a verifier takes the model as the receipt says
        false = edited(chat.to_document(), f"numerics.{name}", value)
        yield Case(f"other-{name}", f"it names another {name}", false, "false", "hidden state")
    small = {"key": "01" + "00" * 31, "value": "01" + "00" * 63}
    for name, note, value in (
        ("small", "signed by a key of small order", small),
        (
            "wrong",
            "signed by nobody",
            {**small, "key": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},
        ),
    ):
        yield Case(f"signature-{name}", note, edited(chat.to_document(), "signature", value), "false", "signature")


def lied(name: str, note: str, receipt: Receipt | RunReceipt, what: str, outcome: str = "false") -> Case:
    """Make a case of a receipt that lies."""
    return Case(name, note, receipt.encode(), outcome, what)


def runs(model: Model) -> Iterator[Case]:
    """Receipts of runs."""
    honest: dict[str, RunReceipt] = {}
    for name, parameters in RUNS.items():
        receipt = intact.solve(model, name, QUESTION, receipt=True, **{"temperature": 1.0, **parameters}).receipt
        assert receipt
        honest[name] = receipt
        yield Case(f"run-true-{name}", "as it was made", receipt.encode(), "true", None)
    vote = honest["self_consistency"]
    yield from forged_results(vote)
    yield from forged_entries(model, honest)
    yield from forged_headers(model, vote, honest["best_of_n"])


def forged_results(vote: RunReceipt) -> Iterator[Case]:
    """Other results of the same texts."""
    result = vote.result

    def made(**changes: Any) -> RunReceipt:
        return RunReceipt.make(vote.header, vote.entries, replace(result, **changes))

    yield lied("run-answer", "another answer", made(answer="none of these"), "vote")
    yield lied("run-votes", "a vote more", made(votes=(*result.votes, ("x", 1.0))), "vote")
    yield lied("run-confidence", "another confidence", made(confidence=0.123), "vote")
    chosen = vote.entries[0].branch if result.chosen is None else None
    yield lied("run-chosen", "another text is chosen", made(chosen=chosen), "vote")
    for name in ("tokens", "prefill", "operations", "scores", "runs", "sequential"):
        cost = result.cost._replace(**{name: getattr(result.cost, name) + 1})
        yield lied(f"run-cost-{name}", f"{name} is one more", made(cost=cost), "cost")
    yield lied("run-root", "another root", replace(vote, root=bytes(32)), "root")


def forged_entries(model: Model, honest: Mapping[str, RunReceipt]) -> Iterator[Case]:
    """Entries that are hidden, added, moved or changed."""
    for name in ("self_consistency", "best_of_n", "beam_search", "first_finish"):
        run, index = honest[name], loser(honest[name])
        fewer = (*run.entries[:index], *run.entries[index + 1 :])
        yield lied(
            f"run-hidden-{name}",
            f"entry {index} is left out",
            RunReceipt.make(run.header, fewer, run.result),
            "missing",
        )
    run = honest["best_of_n"]
    more = replace(run.entries[0], branch=(*run.entries[0].branch[:-1], 99))
    yield lied("run-added", "a text more", RunReceipt.make(run.header, (*run.entries, more), run.result), "extra")
    vote = honest["self_consistency"]
    first, second, *rest = vote.entries
    yield lied(
        "run-order",
        "the first two texts change places",
        RunReceipt.make(vote.header, (second, first, *rest), vote.result),
        "order",
    )
    branch = tuple(map(str, vote.entries[1].branch))
    written = RunReceipt.make(vote.header, tuple(swap(vote, 1, branch=branch)), vote.result)
    yield lied("run-branch", 'a part of a branch is "1" for 1', written, "request")
    for name in ("best_of_n", "beam_search"):
        run = honest[name]
        index = next(i for i, entry in enumerate(run.entries) if isinstance(entry, ScoreEntry))
        scores = run.entries[index].scores
        lie = (scores[0] * (1 + 2**-52), *scores[1:])
        made = RunReceipt.make(run.header, tuple(swap(run, index, scores=lie)), run.result)
        yield lied(f"run-score-{name}", "a score larger by its last bit", made, "score")
    for name in ("self_consistency", "best_of_n", "beam_search", "deepconf"):
        run, index = honest[name], loser(honest[name])
        tokens = list(run.entries[index].output.tokens)
        tokens[-2] = 100 if tokens[-2] != 100 else 101
        covered = cover(model, run, swap(run, index, tokens=tuple(tokens)))
        yield lied(f"run-token-{name}", f"a token of text {index} is another, covered", covered, "token")
    race = honest["first_finish"]
    late = next(i for i, entry in enumerate(race.entries) if entry.output.finish == "cancelled")
    output, chain = race.entries[late].output, race.entries[late].chain
    count = len(output.tokens) - 1
    shorter = {
        "tokens": output.tokens[:count],
        "logprobs": (output.logprobs or ())[:count],
        "chain": chain[: 32 * count],
    }
    yield lied(
        "run-race-slower", "a loser came less far, covered", cover(model, race, swap(race, late, **shorter)), "race"
    )
    yield lied(
        "run-race-won", "a loser has won, covered", cover(model, race, swap(race, late, finish="stop")), "finish"
    )
    confident = honest["deepconf"]
    index = loser(confident)
    top = bytearray(confident.entries[index].output.top or b"")
    top[9] ^= 1
    covered = cover(model, confident, swap(confident, index, top=bytes(top)))
    yield lied("run-likeliest", "a likeliest token is less likely by one, covered", covered, "likeliest")


def forged_headers(model: Model, vote: RunReceipt, best: RunReceipt) -> Iterator[Case]:
    """Other headers above the same entries."""

    def made(run: RunReceipt, **changes: Any) -> RunReceipt:
        return RunReceipt.make(replace(run.header, **changes), run.entries, run.result)

    yield lied("run-seed", "another seed, covered", cover(model, vote, seed=1), "token")
    warmer = {**vote.header.sampling, "temperature": 0.5}
    yield lied("run-sampling", "another temperature, covered", cover(model, vote, sampling=warmer), "token")
    yield lied("run-fewer", "n is one less", made(best, parameters={"n": 2}), "extra")
    yield lied("run-more", "n is one more", made(best, parameters={"n": 4}), "missing")
    yield lied("run-prompt", "another question", made(vote, prompt=(("user", "What is 3 + 3?"),)), "request")
    yield lied("run-id", "another name of the problem", made(vote, id="other"), "missing")
    yield lied("run-reader", "another reader", made(vote, reader="text"), "vote")
    yield lied("run-file", "a file that nobody reads", made(vote, files=(("a", ""),)), "extra")
    yield lied("run-compiler", "a compiler without a constraint", made(vote, compiler="llguidance 1.3.0"), "extra")
    yield lied("run-method", "a method that is none", made(vote, method="no_such"), "method", "unverifiable")
    yield lied("run-parameter", "a parameter that is none", made(vote, parameters={"n": 4, "m": 1}), "method")
    yield lied("run-source", "other code, another vote",
               RunReceipt.make(replace(vote.header, source=bytes(32)), vote.entries, replace(vote.result, answer="x")),
               "method", "unverifiable")  # fmt: skip
    yield lied("run-budget", "a cap in seconds", made(vote, budget={"seconds": 1}), "method")
    document = vote.to_document()
    for number, (path, value) in enumerate(RUN_FORMAT):
        note = f"{path} is taken away" if value is ... else f"{path} is {json.dumps(value):.60}"
        yield Case(f"run-format-{number:02}", note, edited(document, path, value), "unverifiable", "format")
    yield Case("run-version", "of an earlier version", edited(document, "version", 2), "unverifiable", "version")


RUN_FORMAT: tuple[tuple[str, Any], ...] = (
    ("version", 0), ("more", 1), ("root", ...), ("models", []), ("method.more", 1), ("method.parameters", "[]"),
    ("method.parameters", '{"n":4}'), ("method.parameters", '{"n": 65537}'), ("problem.seed", "00"),
    ("problem.data", '{"a": [1]}'), ("files", [{"name": "b", "text": ""}, {"name": "a", "text": ""}]),
    ("sandbox", {}), ("entries.0.kind", "secret"), ("entries.0.branch", []), ("entries.0.output.logprobs", None),
    ("entries.0.state", 7), ("result.confidence", 0.5), ("result.why", "tired"), ("result.cost.seconds", 1),
)  # fmt: skip


def verdicts(model: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Verify files of one receipt each by the command line, and return their verdicts."""
    answer = CliRunner().invoke(app, ["verify", *map(str, files), "--model", str(model), "--json"], prog_name="intact")
    found = json.loads(answer.stdout)["receipts"]
    return [{name: one.get(name) for name in ("outcome", "what", "entry", "position")} for one in found]


def expected(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of the verdict that this program must come to on a file: of other code, no place."""
    names = ("outcome", "what", "entry", "position")
    if (
        "elsewhere" not in kept
        or json.loads((FOLDER / kept["file"]).read_bytes())["method"]["source"] == source().hex()
    ):
        return {name: kept[name] for name in names}
    return dict(kept["elsewhere"])


def check() -> int:
    """Compare the verdicts on the files with those that are kept."""
    kept = json.loads((FOLDER / "verdicts.json").read_text("utf-8"))
    files = [FOLDER / one["file"] for one in kept["files"]]
    bad = 0
    for one, found in zip(kept["files"], verdicts(FOLDER / kept["model"], files), strict=True):
        wanted = expected(one)
        if wanted.items() - found.items():
            bad += 1
            print(f"{one['file']}: expected {wanted}, found {found}")
    print(f"{len(files)} files, {bad} with another verdict")
    return int(bad > 0)


def write() -> int:
    """Write the model, the receipts and their verdicts, each of which must be the one that its case names."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    path = write_tiny(FOLDER / "model.gguf", kinds=("Q8_0",), context=512)
    model = intact.load(path, drafter="off", threads=1)
    cases = [*answers(model), *runs(model)]
    files = [FOLDER / f"{case.name}.receipt" for case in cases]
    assert len(set(files)) == len(files)
    for case, file in zip(cases, files, strict=True):
        file.write_bytes(case.data + b"\n")
    listed, bad = [], 0
    with mock.patch("intact.solving.receipts.verify.source", return_value=b"\1" * 32):
        others = verdicts(path, files)
    for case, file, found, other in zip(cases, files, verdicts(path, files), others, strict=True):
        if (found["outcome"], found["what"]) != (case.outcome, case.what):
            bad += 1
            print(f"{case.name} ({case.note}): expected {case.outcome}, {case.what}; found {found}")
        more = {} if other == found else {"elsewhere": {"outcome": other["outcome"], "what": other["what"]}}
        listed.append({"file": file.name, "note": case.note, **found, **more})
    text = json.dumps({"model": path.name, "files": listed}, indent=1)
    (FOLDER / "verdicts.json").write_text(text + "\n", "utf-8")
    print(f"{len(listed)} files, {bad} with another verdict than is meant")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv else write())
