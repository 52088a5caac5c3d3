"""``intact verify`` and ``--receipt``: what is told, and the exit status, which tells false from cannot tell."""

import json
import weakref
from dataclasses import replace

import pytest

import intact
from intact._base.errors import ReceiptError
from intact.cli.receipt_verifier import ReceiptLine, ReceiptVerifier
from intact.cli.verify import _line
from intact.receipts.document import read_receipts, write_receipts
from intact.receipts.spot import choose, misses, missing
from intact.receipts.verify import unreadable
from intact.solving.receipts import PARSERS
from support.absent import intact_without
from support.adapters import write_adapter
from support.run_forger import cover, loser, swap
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=256)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "other.gguf", seed=1, context=256)


@pytest.fixture
def answers(intact_command, path, tmp_path):
    """A file with the receipts of six samples."""
    file = tmp_path / "answers.receipts"
    arguments = ["--temperature", 0.8, "--max-tokens", 9, "-n", 6, "--receipt", file]
    assert intact_command("run", "-m", path, "Why?", *arguments).code == 0
    return file


def falsify(file, index, **changes):
    """Change lines of a file, and leave everything else as it is."""
    lines = file.read_bytes().splitlines()
    for old, new in changes.items():
        assert old.encode() in lines[index]
        lines[index] = lines[index].replace(old.encode(), new.encode())
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def test_answers_of_mixes_verify_with_their_partners(intact_command, path, other, tmp_path):
    shadowed, paired = tmp_path / "shadowed.receipt", tmp_path / "paired.receipt"
    brief = ["--max-tokens", 8, "--temperature", 0.7]
    asked = ["--mix", "guidance:scale=2.5", "--shadow", "Say.", "--system", "Be brief."]
    ran = intact_command("run", "-m", path, "Why?", *brief, *asked, "--receipt", shadowed)
    assert (ran.code, intact_command("verify", shadowed, "--model", path).code) == (0, 0)
    (receipt,) = read_receipts(shadowed)
    (stream,) = receipt.header.request.decoding.streams
    assert [turn["content"] for turn in stream.source.conversation()["messages"]] == ["Be brief.", "Say."]
    told = intact_command("run", "-m", path, "Why?", *brief, *asked, "--json").json
    assert told["mix"] == {"name": "guidance", "scale": 2.5}
    assert told["completions"][0]["tokens"] == list(receipt.output.tokens)
    shown = intact_command("receipt", "show", shadowed, "--json").json["receipts"][0]
    assert shown["decoding"]["parameters"] == {"scale": 2_500_000}
    pair = ["--with", f"amateur={other}"]
    assert (
        intact_command("run", "-m", path, "Why?", *brief, "--mix", "contrastive", *pair, "--receipt", paired).code == 0
    )
    lacking = intact_command("verify", paired, "--model", path, "--json")
    assert (lacking.code, lacking.json["receipts"][0]["what"]) == (3, "decoding")
    assert intact_command("verify", paired, shadowed, "--model", path, *pair).code == 0
    assert intact_command("run", "-m", path, "Why?", "--mix", "guidance").err.startswith(
        "error: the mix guidance needs a shadow prompt"
    )
    assert "a shadow prompt needs a mix" in intact_command("run", "-m", path, "Why?", "--shadow", "x").err
    assert "takes 1 partner, got 0" in intact_command("run", "-m", path, "Why?", "--mix", "contrastive").err


def test_what_run_and_chat_write_verifies(intact_command, path, tmp_path):
    one, chat = tmp_path / "one.receipt", tmp_path / "chat.receipts"
    ran = intact_command("run", "-m", path, "Why?", "--max-tokens", 12, "--receipt", one)
    plain = intact_command("run", "-m", path, "Why?", "--max-tokens", 12)
    assert ran.out == plain.out
    (receipt,) = read_receipts(one)
    assert receipt.output.text + "\n" == ran.out
    talk = ["chat", "-m", path, "--max-tokens", 8, "--system", "Be brief.", "--receipt", chat]
    assert intact_command(*talk, stdin="one\ntwo\n").code == 0
    first, second = read_receipts(chat)
    said = second.header.request.source.conversation()["messages"]
    assert [turn["content"] for turn in said] == ["Be brief.", "one", first.output.text, "two"]
    result = intact_command("verify", one, chat, "--model", path)
    assert (result.code, result.err) == (0, "3 true, 0 false, 0 cannot be verified\n")
    assert [line.split()[1:] for line in result.out.splitlines()] == [["true", n, "tokens"] for n in ("12", "8", "8")]


def test_a_false_one_is_named_and_decides_the_status(intact_command, path, answers):
    falsify(answers, 2, **{'"temperature":"0.8"': '"temperature":"0.9"'})
    result = intact_command("verify", answers, "--model", path, "--json")
    assert (result.code, result.json["true"], result.json["false"], result.json["unverifiable"]) == (1, 5, 1, 0)
    found = result.json["receipts"][2]
    assert (found["line"], found["outcome"], found["what"], found["position"]) == (3, "false", "hidden state", 0)
    assert all(len(one["digest"]) == 64 and one["tokens"] == 9 for one in result.json["receipts"])
    told = intact_command("verify", answers, "--model", path)
    assert told.code == 1
    assert f"{answers}:3  FALSE  hidden state at 0: " in told.out
    assert "\x1b" not in told.out


def test_what_cannot_be_told_has_a_status_of_its_own(intact_command, path, other, answers, tmp_path):
    result = intact_command("verify", answers, "--model", other, "--json")
    assert (result.code, result.json["unverifiable"]) == (3, 6)
    assert {one["what"] for one in result.json["receipts"]} == {"weights"}
    missing_model = intact_command("verify", answers, "--model", tmp_path / "none.gguf", "--json")
    assert (missing_model.code, missing_model.json["receipts"][0]["what"]) == (3, "model")
    key = "ab" * 32
    unsigned = intact_command("verify", answers, "--model", path, "--signed-by", key, "--json")
    assert (unsigned.code, unsigned.json["receipts"][0]["what"]) == (3, "signature")
    falsify(answers, 0, **{'"version":1}': '"version":2}'})
    falsify(answers, 1, **{'"finish"': '"Finish"'})
    result = intact_command("verify", answers, "--model", path, "--json")
    assert [one["what"] for one in result.json["receipts"][:3]] == ["version", "format", None]
    assert result.code == 3
    falsify(answers, 2, **{'"tokens":[': '"tokens":[9,'})
    assert intact_command("verify", answers, "--model", path).code == 3
    for arguments in (["--sample", 3], ["--nonce", "x"], ["--signed-by", "no key"]):
        assert intact_command("verify", answers, *arguments).code == 2
    assert intact_command("verify", tmp_path / "none.receipts", "--model", path).code == 2
    assert "expected a file in an existing folder" in intact_command("run", "-m", path, "x", "--receipt", "/none/x").err


def test_signatures(intact_command, path, answers, tmp_path):
    pytest.importorskip("cryptography")
    for name in ("mine", "yours"):
        assert intact_command("keys", "new", tmp_path / name).code == 0
    assert intact_command("keys", "sign", answers, "--key", tmp_path / "mine").code == 0
    assert intact_command("verify", answers, "--model", path).code == 0
    assert intact_command("verify", answers, "--model", path, "--signed-by", tmp_path / "mine.pub").code == 0
    wrong = intact_command("verify", answers, "--model", path, "--signed-by", tmp_path / "yours.pub", "--json")
    assert (wrong.code, wrong.json["receipts"][0]["what"]) == (3, "signature")
    (*_, receipt) = read_receipts(answers)
    assert f"signed by {receipt.signature.key.hex()}" in intact_command("verify", answers, "--model", path).out
    assert {one["signed_by"] for one in wrong.json["receipts"]} == {None}
    value = receipt.signature.value.hex()
    falsify(answers, 5, **{value: value[:-1] + ("0" if value[-1] != "0" else "1")})
    broken = intact_command("verify", answers, "--model", path, "--json")
    assert (broken.code, broken.json["receipts"][5]["what"]) == (1, "signature")
    assert [one["signed_by"] for one in broken.json["receipts"]] == [receipt.signature.key.hex()] * 5 + [None]


def test_spot_checks_choose_by_the_nonce_and_say_what_they_miss(intact_command, path, answers):
    digests = [receipt.digest for receipt in read_receipts(answers)]
    seen = set()
    for nonce in ("a", "b", "c", "d"):
        result = intact_command("verify", answers, "--model", path, "--sample", 2, "--nonce", nonce, "--json")
        lines = [one["line"] - 1 for one in result.json["receipts"]]
        assert lines == choose(nonce, digests, 2)
        assert result.json["spot_check"]["missed"][0] == {"false": 1, "probability": pytest.approx(4 / 6)}
        seen |= set(lines)
    assert len(seen) > 3
    few = intact_command("verify", answers, "--model", path, "--tokens", 4, "--sample", 99, "--nonce", "a", "--json")
    assert [one["checked"] for one in few.json["receipts"]] == [4] * 6
    assert (few.json["part"], few.json["tokens"]) == ("all", 4)
    told = intact_command("verify", answers, "--model", path, "--tokens", 4)
    assert told.out.count("  true as far as checked  4 of 9 tokens\n") == 6
    assert "at most 4 tokens of each text were checked" in told.err
    assert few.json["spot_check"]["missed"][0]["probability"] == 0
    told = intact_command("verify", answers, "--model", path, "--sample", 2, "--nonce", "a")
    assert "2 of 6 receipts were chosen" in told.err
    for option in (("--sample", 2), ("--opening", answers)):
        refused = intact_command("verify", answers, "--model", path, *option)
        assert (refused.code, refused.err.startswith(f"error: {option[0]} needs --nonce, ")) == (2, True)


def test_who_claims_the_root_of_a_true_run_is_chosen_for_its_own_parts(intact_command, path, runs):
    (true,) = read_receipts(runs, PARSERS)
    lies = [replace(true, result=replace(true.result, answer=f"lie {i}")) for i in range(12)]
    write_receipts(runs, [true, true, true, *lies])
    seen = set()
    for nonce in "abcd":
        result = intact_command("verify", runs, "--model", path, "--sample", 4, "--nonce", nonce, "--json")
        spot, lines = result.json["spot_check"], [one["line"] - 1 for one in result.json["receipts"]]
        assert (result.code, result.json["false"] >= 3, spot["receipts"], spot["chosen"]) == (1, True, 13, 4)
        assert lines == choose(nonce, [one.digest for one in read_receipts(runs, PARSERS)], 4)
        assert {one["what"] for one in result.json["receipts"] if one["outcome"] == "false"} == {"root"}
        seen |= set(lines)
    assert len(seen) > 6
    write_receipts(runs, [true, true, lies[0]])
    nonce = next(n for n in "abcdefgh" if choose(n, [true.digest, lies[0].digest], 1) == [0])
    copies = intact_command("verify", runs, "--model", path, "--sample", 1, "--nonce", nonce, "--json")
    assert [one["line"] for one in copies.json["receipts"]] == [1, 2]


def test_the_probability_of_missing_is_that_of_drawing_without_replacement():
    from itertools import combinations

    for total, chosen, false in ((6, 2, 1), (7, 3, 3), (5, 5, 1), (5, 2, 4), (8, 3, 0)):
        draws = list(combinations(range(total), chosen))
        assert missing(total, chosen, false) * len(draws) == sum(min(draw) >= false for draw in draws)


def test_no_more_false_receipts_are_reckoned_with_than_there_are():
    assert misses(0, 0) == {}
    assert misses(1, 1) == {1: 0.0}
    assert misses(4, 1) == {1: 0.75, 2: 0.5}


def test_no_receipt_writes_its_own_verdict(intact_command, path, runs):
    (true,) = read_receipts(runs, PARSERS)
    lie = "\x1b[1A\x1b[2K\nrun.receipt:1  true  24 tokens\x9b8m\u2028"
    write_receipts(runs, [replace(true, header=replace(true.header, id=lie))])
    told = intact_command("verify", runs, "--model", path)
    assert (told.code, len(told.out.splitlines())) == (1, 1)
    entry = ReceiptLine(runs, 1, 9, ReceiptError(lie))
    (line,) = str(_line(entry, unreadable(entry.content))).splitlines()
    assert line.endswith("format: \ufffd[1A\ufffd[2K\ufffdrun.receipt:1  true  24 tokens\ufffd8m\ufffd")
    missing = intact_command("verify", runs.with_name(lie), "--model", path)
    assert (missing.code, len(missing.err.splitlines()), "\x1b" in missing.err) == (2, 1, False)


def no_quantization(receipt):
    raise AssertionError(f"{receipt} is no receipt of a quantisation")


def test_large_receipts_are_not_read_ahead(path, runs):
    (run,) = read_receipts(runs, PARSERS)
    entries = iter([ReceiptLine(runs, line, 1 << 19, run) for line in range(10)])
    verifier = ReceiptVerifier(lambda *_: intact.load(path, drafter="off"), (), None, None, False, no_quantization)
    judged = verifier.run(entries)
    next(judged)
    assert len(list(entries)) == 8


def test_one_model_is_in_memory_whatever_receipts_claim(path, answers):
    first, second, third, *_ = read_receipts(answers)
    alive = []

    def claiming(one, **claimed):
        return replace(one, header=replace(one.header, numerics=replace(one.header.numerics, **claimed)))

    def load(name, profile, bits, partners):
        assert [model for model in alive if model() is not None] == []
        model = intact.load(path, profile=profile, bits=bits, drafter="off")
        alive.append(weakref.ref(model))
        return model

    several = first, claiming(second, profile="fp32"), claiming(third, bits=4)
    entries = iter([ReceiptLine(answers, line, 9, one) for line, one in enumerate(several)])
    verdicts = [
        verdict.outcome for _, _, verdict in ReceiptVerifier(load, (), None, None, False, no_quantization).run(entries)
    ]
    assert (verdicts, len(alive)) == (["true", "false", "false"], 3)


def test_many_profiles_in_one_file(intact_command, path, tmp_path):
    files = []
    for options in (("--profile", "int8"), ("--profile", "fp32"), ("--kv", "int4")):
        file = tmp_path / options[1]
        intact_command("run", "-m", path, "x", "--max-tokens", 5, *options, "--receipt", file)
        files += read_receipts(file)
    assert files[2].header.numerics.profile == "int8+kv-int4"
    write_receipts(tmp_path / "all", [files[0], files[1], files[2], files[0]])
    result = intact_command("verify", tmp_path / "all", "--model", path, "--json")
    assert (result.code, result.json["true"]) == (0, 4)
    assert json.loads(result.out) == result.json


@pytest.fixture
def runs(intact_command, path, tmp_path):
    """A file with the receipt of a run, and one that tells of the same run what is not so."""
    file = tmp_path / "run.receipt"
    asked = ["--set", "n=3", "--max-tokens", 8, "--model", path, "--receipt", file]
    assert intact_command("solve", "best_of_n", "What is 2 + 2?", *asked).code == 0
    return file


def test_runs_verify_whole_and_in_part(intact_command, path, runs, answers):
    whole = intact_command("verify", runs, answers, "--model", path, "--json")
    assert (whole.code, whole.json["true"], whole.json["receipts"][0]["checked"]) == (0, 7, 24)
    part = intact_command("verify", runs, "--part", "winner", "--model", path, "--json")
    assert (part.code, part.json["receipts"][0]["checked"], part.json["receipts"][0]["tokens"]) == (4, 8, 24)
    told = intact_command("verify", runs, "--part", "winner", "--model", path)
    assert "true as far as checked  8 of 24 tokens" in told.out
    assert "only the texts behind the answer" in told.err
    falsify(runs, 0, **{'"seed":"0"': '"seed":"1"'})
    told = intact_command("verify", runs, "--model", path)
    assert (told.code, "FALSE  root: " in told.out) == (1, True)
    key = "ab" * 32
    assert intact_command("verify", runs, "--model", path, "--signed-by", key).code == 3


def status_of(intact_command, path, *arguments):
    """The exit status, the outcome of all, and how many receipts have which outcome."""
    result = intact_command("verify", *arguments, "--model", path, "--json")
    names = ("true", "partial", "false", "unverifiable")
    return result.code, result.json["outcome"], tuple(result.json[name] for name in names)


def test_what_was_checked_in_part_is_never_true(intact_command, path, answers, runs):
    """Each way to check less has the status 4, unless nothing was left unchecked."""
    spot = ("--nonce", "a", "--sample")
    assert status_of(intact_command, path, answers) == (0, "true", (6, 0, 0, 0))
    assert status_of(intact_command, path, answers, "--tokens", 8) == (4, "partial", (0, 6, 0, 0))
    assert status_of(intact_command, path, answers, "--tokens", 9) == (0, "true", (6, 0, 0, 0))
    assert status_of(intact_command, path, answers, *spot, 5) == (4, "partial", (5, 0, 0, 0))
    assert status_of(intact_command, path, answers, *spot, 6) == (0, "true", (6, 0, 0, 0))
    assert status_of(intact_command, path, runs, "--tokens", 7) == (4, "partial", (0, 1, 0, 0))
    assert status_of(intact_command, path, runs, "--tokens", 8) == (0, "true", (1, 0, 0, 0))
    assert status_of(intact_command, path, runs, "--part", "winner") == (4, "partial", (0, 1, 0, 0))
    assert status_of(intact_command, path, answers, "--part", "winner") == (0, "true", (6, 0, 0, 0))
    assert status_of(intact_command, path, runs, answers, "--part", "winner") == (4, "partial", (6, 1, 0, 0))


def test_false_and_unverifiable_come_before_partial(intact_command, path, other, answers):
    falsify(answers, 2, **{'"version":1}': '"version":2}'})
    assert status_of(intact_command, path, answers, "--tokens", 4) == (3, "unverifiable", (0, 5, 0, 1))
    falsify(answers, 4, **{'"temperature":"0.8"': '"temperature":"0.9"'})
    assert status_of(intact_command, path, answers, "--tokens", 4) == (1, "false", (0, 4, 1, 1))
    assert status_of(intact_command, other, answers, "--tokens", 4) == (3, "unverifiable", (0, 0, 0, 6))


def test_the_winner_alone_is_partial_where_the_losers_are_invented(intact_command, path, runs):
    """Their tokens are nobody's, with all digests made to fit: checked as a whole the run is false."""
    (receipt,) = read_receipts(runs, PARSERS)
    index, model = loser(receipt), intact.load(path, drafter="off")
    tokens = tuple([token ^ 1 for token in receipt.entries[index].output.tokens])
    forged = cover(model, receipt, swap(receipt, index, tokens=tokens))
    assert forged.result.chosen == receipt.result.chosen
    write_receipts(runs, [forged])
    assert status_of(intact_command, path, runs, "--part", "winner") == (4, "partial", (0, 1, 0, 0))
    assert status_of(intact_command, path, runs) == (1, "false", (0, 0, 1, 0))


def test_the_help_has_the_status_of_each_outcome(intact_command):
    told = " ".join(intact_command("verify", "--help").out.replace("│", " ").split())
    assert "0: all are true. 1: one is false. 3: none is false, but one cannot be verified. 4: " in told


def test_what_is_false_in_a_run_is_told_with_its_entry(intact_command, path, runs):
    from intact.solving.receipts.document import RunReceipt

    receipt = RunReceipt.parse(runs.read_bytes().rstrip(b"\n"))
    entries = (*receipt.entries[:3], replace(receipt.entries[3], scores=(0.1, 0.2, 0.3)))
    runs.write_bytes(RunReceipt.make(receipt.header, entries, receipt.result).encode() + b"\n")
    told = intact_command("verify", runs, "--model", path)
    assert (told.code, "FALSE  score in entry 3: " in told.out) == (1, True)


def test_runs_of_mixes_verify_with_their_partners(intact_command, path, other, tmp_path):
    shadowed, paired = tmp_path / "shadowed.receipt", tmp_path / "paired.receipt"
    asked = ["Why?", "-n", 3, "--max-tokens", 8, "--model", path]
    guided = ["--mix", "guidance:scale=2.5", "--shadow", "Say.", "--receipt", shadowed]
    assert intact_command("solve", "best_of_n", *asked, *guided).code == 0
    assert intact_command("verify", shadowed, "--model", path).code == 0
    pair = ["--mix", "contrastive", "--partner", other, "--receipt", paired]
    judged = ["--set", "scorer=p_true:large", "--with", f"large={path}"]  # and a model that the method calls
    assert intact_command("solve", "best_of_n", *asked, *pair, *judged).code == 0
    large, amateur = ["--with", f"large={path}"], ["--with", f"amateur={other}"]
    lacking = intact_command("verify", paired, "--model", path, *large, "--json")
    assert (lacking.code, lacking.json["receipts"][0]["what"]) == (3, "decoding")
    together = intact_command("verify", paired, shadowed, "--model", path, *amateur, *large, "--json")
    assert (together.code, together.json["true"]) == (0, 2)
    shown = [intact_command("receipt", "show", file, "--json").json["receipts"][0] for file in (shadowed, paired)]
    assert [model.get("mix", {}).get("shadow") for model in shown[0]["models"]] == ["Say."]
    first, second = shown[1]["models"]
    assert (first["mix"]["name"], first["mix"]["parameters"]) == ("contrastive", {"alpha": 100_000, "beta": 500_000})
    (partner,) = first["mix"]["partners"]
    assert partner["weights"] != first["weights"] == second["weights"]
    assert "mix" not in second
    assert "models.mix.shadow" in shown[0]["partly_checked"]
    assert ("models.mix.partners.name" in shown[1]["unchecked"]) == (partner["name"] is not None)
    assert "contrastive" in intact_command("receipt", "show", paired).out


def test_runs_that_no_receipt_can_hold_write_none(intact_command, path, tmp_path):
    file = tmp_path / "run.receipt"
    asked = ["--model", path, "--receipt", file]
    for arguments in (["best_of_n", "Why?", "--budget", "seconds=9"], ["best_of_n", "Why?", "--set", "scorer=reward"]):
        assert intact_command("solve", *arguments, *asked).code == 2
    assert not file.exists()


def test_runs_are_signed_as_answers_are(intact_command, path, runs, answers, tmp_path):
    pytest.importorskip("cryptography")
    for name in ("mine", "yours"):
        assert intact_command("keys", "new", tmp_path / name).code == 0
    both = tmp_path / "both.receipts"
    both.write_bytes(runs.read_bytes() + answers.read_bytes())
    signed = intact_command("keys", "sign", both, "--key", tmp_path / "mine", "--json")
    assert (signed.code, len(signed.json["digests"])) == (0, 7)
    assert intact_command("verify", both, "--model", path, "--signed-by", tmp_path / "mine.pub").code == 0
    wrong = intact_command("verify", both, "--model", path, "--signed-by", tmp_path / "yours.pub", "--json")
    assert (wrong.code, wrong.json["unverifiable"], wrong.json["receipts"][0]["what"]) == (3, 7, "signature")
    stolen = next(read_receipts(both, PARSERS))
    other = replace(stolen, result=replace(stolen.result, answer="mine"))
    write_receipts(tmp_path / "other", [other])
    moved = intact_command("verify", tmp_path / "other", "--model", path, "--json")
    assert (moved.code, moved.json["receipts"][0]["what"]) == (1, "signature")
    unsigned = intact_command("keys", "sign", tmp_path / "other", "--key", tmp_path / "mine")
    assert (unsigned.code, f"{tmp_path / 'other'}, line 1: its root does not match" in unsigned.err) == (2, True)
    value = stolen.signature.value.hex()
    falsify(both, 0, **{value: value[:-1] + ("0" if value[-1] != "0" else "1")})
    broken = intact_command("verify", both, "--model", path, "--json")
    assert (broken.code, broken.json["true"], broken.json["receipts"][0]["what"]) == (1, 6, "signature")


def test_two_models_in_one_run(intact_command, path, other, tmp_path):
    file = tmp_path / "run.receipt"
    asked = ["--set", "n=2", "--set", "scorer=p_true:large", "--max-tokens", 8, "--receipt", file]
    made = intact_command("solve", "best_of_n", "Why?", *asked, "--model", path, "--with", f"large={other}")
    assert made.code == 0
    assert intact_command("verify", file, "--model", path, "--with", f"large={other}").code == 0
    alone = intact_command("verify", file, "--model", path, "--json")
    assert (alone.code, alone.json["receipts"][0]["what"]) == (3, "model")
    swapped = intact_command("verify", file, "--model", other, "--with", f"large={path}", "--json")
    assert (swapped.code, swapped.json["receipts"][0]["what"]) == (3, "weights")


def test_a_verdict_is_told_as_soon_as_it_is_known(intact_command, runs, answers, path, monkeypatch, tmp_path):
    from intact.cli import verify as command
    from intact.solving.receipts import verify as of_runs

    three = tmp_path / "three.receipts"
    three.write_bytes(3 * runs.read_bytes() + answers.read_bytes())
    events, judge, line = [], of_runs.verify_run, command._line
    monkeypatch.setattr(of_runs, "verify_run", lambda *a, **k: (events.append("judged"), judge(*a, **k))[1])
    monkeypatch.setattr(command, "_line", lambda *a: (events.append("told"), line(*a))[1])
    result = intact_command("verify", three, "--model", path)
    assert result.code == 0
    assert events == ["told"] * 6 + ["judged", "told"] * 3
    assert [row.split()[0] for row in result.out.splitlines()] == [f"{three}:{n}" for n in (4, 5, 6, 7, 8, 9, 1, 2, 3)]
    told = intact_command("verify", three, "--model", path, "--json")
    assert [one["line"] for one in told.json["receipts"]] == list(range(1, 10))


def test_without_llguidance_constraints_end_in_one_line(path, tmp_path):
    file = tmp_path / "one.receipt"
    asked = ["run", "-m", path, "Why?", "--max-tokens", 8, "--regex", "[a-z]+", "--receipt", file]
    for arguments in (asked[:-2], [*asked, "--json", "-n", 2]):
        told = intact_without("llguidance", *arguments)
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr.startswith("error: constraints need llguidance, which is not installed: pip install ")
        assert told.stderr.count("\n") == 1
    assert not file.exists()


def test_without_llguidance_nobody_who_has_it_is_called_a_liar(intact_command, path, tmp_path):
    pytest.importorskip("llguidance")
    file, run = tmp_path / "one.receipt", tmp_path / "run.receipt"
    asked = {"max_tokens": 8, "temperature": 1.0, "regex": "[a-z]+", "receipt": True}
    model = intact.load(path, drafter="off")
    model.generate("Why?", **asked)[0][0].receipt.save(file)
    write_receipts(run, [intact.solve(model, "self_consistency", "Why?", n=2, **asked).receipt])
    for one in (file, run):
        told = intact_without("llguidance", "verify", one, "--model", path, "--json")
        (receipt,) = json.loads(told.stdout)["receipts"]
        assert (told.returncode, receipt["outcome"], receipt["what"]) == (3, "unverifiable", "constraint")
        assert "constraints need llguidance" in receipt["detail"]
        assert intact_command("verify", one, "--model", path).code == 0


def test_an_answer_with_an_adapter_verifies_with_it_alone(intact_command, path, tmp_path):
    adapter, plain, changed = write_adapter(tmp_path / "a.gguf", path), tmp_path / "plain", tmp_path / "changed"
    asked = ["run", "-m", path, "Why?", "--max-tokens", 8]
    assert intact_command(*asked, "--receipt", plain).code == 0
    assert intact_command(*asked, "--receipt", changed, "--adapter", adapter).code == 0
    given = ["--model", path, "--adapter", adapter]
    assert intact_command("verify", plain, changed, *given).code == 0
    lacking = intact_command("verify", changed, "--model", path, "--json")
    assert (lacking.code, lacking.json["receipts"][0]["what"]) == (3, "weights")
    assert "expected a LoRA adapter" in intact_command(*asked, "--adapter", tmp_path / "none").err
