"""Lies are found, with what differs and where, though the liar recomputes every digest and the chain."""

import json
import random
from dataclasses import replace

import pytest

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact.engine.sampling.constraints import compiler
from intact.receipts import verify as verifying
from intact.receipts.document import Receipt
from intact.receipts.source import PromptSource
from intact.receipts.verify import verify
from support.bombs import BOMBS, contained
from support.forger import altered, forge
from support.tiny import TEMPLATE, tokenizer_metadata, write_tiny

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
ASKED = {"max_tokens": 40, "temperature": 0.7, "seed": 3, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder):
    return intact.load(write_tiny(folder / "true.gguf", "llama", context=256), drafter="off")


@pytest.fixture(scope="module")
def honest(model):
    """The receipt of a conversation."""
    return model.chat(MESSAGES, logprobs=True, receipt=True, **ASKED).receipt


def judge(model, receipt, most=None):
    (verdict,) = verify(model, [receipt], most)
    return verdict


def first_difference(a, b):
    return next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)


def test_the_truth_is_found_true(model, honest):
    verdict = judge(model, honest)
    assert (verdict.outcome, verdict.what, verdict.checked) == ("true", None, 40)
    assert forge(model, honest.header, honest.output) == honest


def test_a_long_truth_is_found_true(folder):
    long = intact.load(write_tiny(folder / "long.gguf", "llama", context=512), drafter="off")
    receipt = long.generate("abc", receipt=True, **(ASKED | {"max_tokens": 300}))[0][0].receipt
    verdict = judge(long, receipt)
    assert (verdict.outcome, verdict.checked) == ("true", 300)


@pytest.mark.parametrize("place", [0, 17, 39])
@pytest.mark.parametrize("covered", [False, True])
def test_a_token(model, honest, place, covered):
    tokens = list(honest.output.tokens)
    tokens[place] = (tokens[place] + 1) % 256
    output = replace(honest.output, tokens=tuple(tokens), logprobs=None)
    false = forge(model, honest.header, output) if covered else replace(honest, output=output)
    verdict = judge(model, false)
    assert (verdict.outcome, verdict.what, verdict.position, verdict.checked) == ("false", "token", place, place)


def flipped(folder, model, name, place):
    """A copy of the model's file with one bit of a tensor flipped, loaded."""
    data = bytearray(model.path.read_bytes())
    tensor = bytes(model.program.tensors[name].data)
    start = bytes(data).index(tensor)
    data[start + place] ^= 1
    path = folder / f"{name}.{place}.gguf"
    path.write_bytes(data)
    return intact.load(path, drafter="off")


def answer(model, **changes):
    return model.chat(MESSAGES, logprobs=True, receipt=True, **(ASKED | changes)).receipt


def test_a_bit_of_a_weight_that_changes_no_logit(folder, model, honest):
    name = next(name for name in model.program.tensors if "embd" in name)
    tensor = model.program.tensors[name]
    row = len(tensor.data) // tensor.shape[0]
    unused = next(t for t in range(258, -1, -1) if t not in (*honest.header.request.prompt, *honest.output.tokens))
    other = flipped(folder, model, name, unused * row + row - 1)
    receipt = answer(other)
    assert receipt.output == honest.output
    verdict = judge(model, receipt)
    assert (verdict.outcome, verdict.what, verdict.position) == ("unverifiable", "weights", None)
    assert receipt.header.model.weights.hex() in verdict.detail


def test_a_bit_of_a_weight_that_is_used_by_who_claims_the_true_weights(folder, model, honest):
    name = next(name for name in model.program.tensors if "ffn_down" in name)
    other = flipped(folder, model, name, 40)
    false = forge(other, honest.header, honest.output)
    assert false.output == honest.output
    assert false.chain != honest.chain
    verdict = judge(model, false)
    assert (verdict.outcome, verdict.what, verdict.position) == ("false", "hidden state", 0)


def test_another_quantisation_of_the_same_model(folder, model, honest):
    other = intact.load(write_tiny(folder / "q8.gguf", "llama", ("Q8_0",), context=256), drafter="off")
    receipt = answer(other)
    assert judge(model, receipt).what == "weights"
    claimed = forge(other, replace(receipt.header, model=honest.header.model), receipt.output)
    verdict = judge(model, claimed)
    assert (verdict.outcome, verdict.what, verdict.position) == ("false", "hidden state", 0)


def test_other_bits_of_a_float_checkpoint_and_another_profile(folder, model):
    path = write_tiny(folder / "float.gguf", "llama", ("F16",), context=256)
    four, eight, floats = (intact.load(path, *given, drafter="off") for given in (("int8",), ("int8",), ("fp32",)))
    four = intact.load(path, bits=4, drafter="off")
    receipt = answer(four)
    assert judge(four, receipt).outcome == "true"
    for other in (eight, floats):
        assert judge(other, receipt).what == "numerics"
        claimed = forge(four, replace(receipt.header, numerics=answer(other).header.numerics), receipt.output)
        assert (judge(other, claimed).what, judge(other, claimed).position) == ("hidden state", 0)


@pytest.mark.parametrize("changes", [{"temperature": 0.71}, {"seed": 4}, {"top_p": 0.9}, {"repetition_penalty": 1.1}])
def test_other_sampling_than_is_claimed(model, changes):
    """The answer of other parameters, under a header that names these; states and chain are those of the true model."""
    for seed in range(3, 40):
        base = {"seed": seed, "max_tokens": 120} | ({"seed": seed + 1} if "seed" in changes else {})
        truth, lie = answer(model, **base), answer(model, **(base | changes))
        if truth.output.tokens != lie.output.tokens:
            break
    place = first_difference(truth.output.tokens, lie.output.tokens)
    false = forge(model, truth.header, replace(lie.output, logprobs=None))
    verdict = judge(model, false)
    assert (verdict.outcome, verdict.what, verdict.position) == ("false", "token", place)
    uncovered = judge(model, replace(lie, header=truth.header))
    assert (uncovered.what, uncovered.position) == ("hidden state", 0)


def test_another_branch(model, honest):
    false = forge(model, altered(honest.header, branch=("another", 0)), honest.output)
    assert judge(model, false).what == "token"


def test_another_prompt(model, honest):
    prompt = honest.header.request.prompt
    other = (*prompt[:-3], prompt[-3] + 1, *prompt[-2:])
    verdict = judge(model, forge(model, altered(honest.header, prompt=other), honest.output))
    assert (verdict.outcome, verdict.what, verdict.position) == ("false", "prompt", len(prompt) - 3)
    verdict = judge(
        model, forge(model, altered(honest.header, prompt=other, source=None), replace(honest.output, logprobs=None))
    )
    assert (verdict.outcome, verdict.what) == ("false", "token")
    verdict = judge(model, replace(honest, header=altered(honest.header, prompt=(*prompt, 999), source=None)))
    assert (verdict.what, verdict.position) == ("prompt", len(prompt))


def test_tokens_lie_below_the_vocabularys_size(model, honest):
    vocabulary, prompt, output = model.program.vocabulary, honest.header.request.prompt, honest.output
    beyond = replace(honest, header=altered(honest.header, prompt=(*prompt[:-1], vocabulary), source=None))
    assert (judge(model, beyond).outcome, judge(model, beyond).what) == ("false", "prompt")
    assert judge(model, beyond).position == len(prompt) - 1
    beyond = replace(honest, output=replace(output, tokens=(*output.tokens[:-1], vocabulary)))
    assert (judge(model, beyond).outcome, judge(model, beyond).what) == ("false", "token")
    assert f"vocabulary, 0 to {vocabulary - 1}" in judge(model, beyond).detail
    last = replace(honest, header=altered(honest.header, prompt=(*prompt[:-1], vocabulary - 1), source=None))
    assert judge(model, last).what == "hidden state"
    with pytest.raises(ParameterError, match=f"token 1 must lie in \\[0, {vocabulary}\\), got {vocabulary}"):
        model.generate([1, vocabulary], max_tokens=1)


@pytest.mark.parametrize("name", ["self", "messages_", "context", "now"])
def test_variables_of_any_name(model, honest, name):
    text = json.dumps({"messages": MESSAGES, name: 1})
    verdict = judge(model, forge(model, altered(honest.header, source=PromptSource("chat", text)), honest.output))
    assert verdict.outcome == ("false" if name == "now" else "true")


def test_another_system_message(model, honest):
    text = honest.header.request.source.text
    source = PromptSource("chat", text.replace("brief", "verbose"))
    said = model.tokenizer.decode(honest.header.request.prompt, skip_special=False)
    verdict = judge(model, forge(model, altered(honest.header, source=source), honest.output))
    made = model.tokenizer.encode_chat(json.loads(source.text)["messages"])
    assert "brief" in said
    assert (verdict.outcome, verdict.what) == ("false", "prompt")
    assert verdict.position == first_difference(made, honest.header.request.prompt)
    consistent = altered(honest.header, source=source, prompt=tuple(made))
    assert judge(model, forge(model, consistent, replace(honest.output, logprobs=None))).what == "token"


def test_a_time_that_nobody_asked_for(folder, model, honest):
    source = replace(honest.header.request.source, now="1999-12-31T23:59:59")
    verdict = judge(model, forge(model, altered(honest.header, source=source), honest.output))
    assert (verdict.outcome, verdict.what) == ("false", "prompt")
    text = model.generate("abc", receipt=True, max_tokens=4)[0][0].receipt
    source = replace(text.header.request.source, now="1999-12-31T23:59:59")
    verdict = judge(model, forge(model, altered(text.header, source=source), text.output))
    assert (verdict.outcome, verdict.what) == ("false", "prompt")
    metadata = {**tokenizer_metadata(301), "tokenizer.chat_template": "{{ strftime_now('%Y') }}" + TEMPLATE}
    other = intact.load(write_tiny(folder / "dated.gguf", "llama", context=256, metadata=metadata), drafter="off")
    receipt = answer(other)
    source = receipt.header.request.source
    assert judge(other, receipt).outcome == "true"
    for now in (source.now.replace("T", " "), source.now.replace("-", ""), "1999" + source.now[4:]):
        header = altered(receipt.header, source=replace(source, now=now))
        verdict = judge(other, forge(other, header, receipt.output))
        assert (verdict.outcome, verdict.what) == ("false", "prompt")


def test_a_template_that_goes_beyond_its_limits_here_makes_nobody_a_liar(model, honest, monkeypatch):
    monkeypatch.setattr(model.tokenizer.chat_template, "_max_output", 3)
    verdict = judge(model, honest)
    assert (verdict.outcome, verdict.what) == ("unverifiable", "template")
    assert "wrote more than 3 characters" in verdict.detail


def test_another_template(folder, model, honest):
    metadata = {**tokenizer_metadata(301), "tokenizer.chat_template": TEMPLATE.replace("assistant", "wizard")}
    other = intact.load(write_tiny(folder / "template.gguf", "llama", context=256, metadata=metadata), drafter="off")
    receipt = answer(other)
    assert (judge(model, receipt).outcome, judge(model, receipt).what) == ("unverifiable", "template")
    claimed = forge(model, replace(receipt.header, model=honest.header.model), receipt.output)
    verdict = judge(model, claimed)
    assert (verdict.outcome, verdict.what) == ("false", "prompt")
    assert verdict.position == first_difference(receipt.header.request.prompt, honest.header.request.prompt)


def test_another_tokenizer(folder, model):
    metadata = {**tokenizer_metadata(301), "tokenizer.ggml.eos_token_id": 0}
    other = intact.load(write_tiny(folder / "tokenizer.gguf", "llama", context=256, metadata=metadata), drafter="off")
    verdict = judge(model, answer(other))
    assert (verdict.outcome, verdict.what) == ("unverifiable", "tokenizer")


def test_a_truncated_answer_and_one_that_goes_on(model, honest):
    output = honest.output
    for finish in ("length", "stop"):
        short = replace(output, tokens=output.tokens[:30], text="", finish=finish, logprobs=None)
        verdict = judge(model, forge(model, honest.header, short))
        assert (verdict.outcome, verdict.what, verdict.position) == ("false", "finish", 30)
    long = replace(output, tokens=(*output.tokens, 7), logprobs=None)
    verdict = judge(model, forge(model, honest.header, long))
    assert (verdict.outcome, verdict.what, verdict.position) == ("false", "finish", 40)
    longer = replace(model.generate("abc", receipt=True, **(ASKED | {"max_tokens": 50}))[0][0].receipt.header)
    assert judge(model, forge(model, longer, output)).what in ("token", "finish")


def test_finish_text_and_logprobs(model, honest):
    output = honest.output
    finish = judge(model, replace(honest, output=replace(output, finish="stop")))
    assert (finish.outcome, finish.what, finish.position) == ("false", "finish", 40)
    text = judge(model, replace(honest, output=replace(output, text=output.text + "!")))
    assert (text.outcome, text.what) == ("false", "text")
    logprobs = (*output.logprobs[:9], output.logprobs[9] - 1, *output.logprobs[10:])
    found = judge(model, replace(honest, output=replace(output, logprobs=logprobs)))
    assert (found.outcome, found.what, found.position) == ("false", "logprobs", 9)


def test_a_stop_string_and_an_end_token(model):
    whole = model.generate("abc", receipt=True, **ASKED)[0][0]
    stop = whole.text[10:13]
    receipt = model.generate("abc", receipt=True, stop=stop, **ASKED)[0][0].receipt
    assert receipt.output.finish == "stop"
    assert judge(model, receipt).outcome == "true"
    silent = altered(receipt.header, stop=())
    assert judge(model, forge(model, silent, receipt.output)).what == "finish"


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_an_end_that_is_hidden(model, finish):
    """As texts of runs may say: that the model was cut short at the very token where it ended, or wrote more."""
    whole = model.generate("abc", receipt=True, **ASKED)[0][0]
    more = {"stop": whole.text[10:13]} if finish == "stop" else {}
    receipt = model.generate("abc", receipt=True, **ASKED, **more)[0][0].receipt
    count = receipt.count
    assert receipt.output.finish == finish
    cut = judge(model, replace(receipt, output=replace(receipt.output, finish="cancelled")))
    assert (cut.outcome, cut.what, cut.position) == ("false", "finish", count)
    tokens = (*receipt.output.tokens, 100)
    longer = forge(model, receipt.header, replace(receipt.output, tokens=tokens, finish="length"))
    for most in (None, count):
        found = judge(model, longer, most)
        assert (found.outcome, found.what, found.position) == ("false", "finish", count)
    shorter = replace(receipt.output, tokens=tokens[: count - 1], finish="cancelled", text="")
    early = judge(model, forge(model, receipt.header, shorter))
    assert (early.outcome, early.what) == ("false", "text")  # all its tokens are the model's


def test_a_constraint(model):
    pytest.importorskip("llguidance")
    receipt = model.generate("abc", receipt=True, max_tokens=40, temperature=1.0, regex="[a-z ]{12,20}[0-9]{2}")[0][
        0
    ].receipt
    assert receipt.header.request.compiler == compiler()
    assert judge(model, receipt).outcome == "true"
    loose = altered(receipt.header, regex="[a-z0-9 ]{14,22}")
    assert judge(model, forge(model, loose, receipt.output)).outcome == "false"
    old = replace(loose, request=replace(loose.request, compiler="llguidance 0.1"))
    verdict = judge(model, forge(model, old, receipt.output))
    assert (verdict.outcome, verdict.what) == ("unverifiable", "constraint")
    short = forge(model, old, replace(receipt.output, tokens=receipt.output.tokens[:5], finish="stop"))
    assert judge(model, short).what == "constraint"


def test_no_compiler_decides_states_texts_and_log_probabilities(model):
    """Naming another one makes no lie about these less of a lie."""
    pytest.importorskip("llguidance")
    asked = {"max_tokens": 40, "temperature": 1.0, "regex": "[a-z ]{12,20}[0-9]{2}"}
    receipt = model.generate("abc", receipt=True, logprobs=True, **asked)[0][0].receipt
    header = replace(receipt.header, request=replace(receipt.header.request, compiler="llguidance 0.1"))
    assert judge(model, forge(model, header, receipt.output)).outcome == "true"
    verdict = judge(model, replace(receipt, header=header))
    assert (verdict.outcome, verdict.what, verdict.position) == ("false", "hidden state", 0)
    logprobs = receipt.output.logprobs
    for what, lie in (("text", {"text": "Yes"}), ("logprobs", {"logprobs": (*logprobs[:-1], logprobs[-1] - 1)})):
        verdict = judge(model, forge(model, header, replace(receipt.output, **lie)))
        assert (verdict.outcome, verdict.what) == ("false", what)


@pytest.mark.parametrize("name", BOMBS)
def test_a_constraint_that_explodes_cannot_be_verified(model, honest, name):
    (kind, text), *_ = BOMBS[name].items()
    header = altered(honest.header, **{kind: text}, ignore_eos=False)
    with contained():
        verdict = judge(model, replace(honest, header=replace(header, request=replace(header.request, compiler="x 1"))))
    assert (verdict.outcome, verdict.what, verdict.checked) == ("unverifiable", "constraint", 0)
    assert "cannot be used: compiling it " in verdict.detail


def test_what_this_model_cannot_tell(model, honest):
    prompt = tuple([*honest.header.request.prompt] * 10)[: model.context - 20]
    verdict = judge(model, forge(model, altered(honest.header, prompt=prompt[:200], source=None), honest.output))
    assert verdict.outcome == "false"
    verdict = judge(model, replace(honest, header=altered(honest.header, prompt=prompt, source=None)))
    assert (verdict.outcome, verdict.what) == ("unverifiable", "context")
    numerics = replace(honest.header.numerics, version="99")
    verdict = judge(model, replace(honest, header=replace(honest.header, numerics=numerics)))
    assert (verdict.outcome, verdict.what) == ("unverifiable", "numerics")
    small = intact.load(model.path, cache_bytes=2 * model.executor.page_bytes)
    assert (judge(small, honest).outcome, judge(small, honest).what) == ("unverifiable", "memory")


def test_a_part_from_the_beginning(model, honest):
    tokens = [*honest.output.tokens[:20], honest.output.tokens[20] ^ 1, *honest.output.tokens[21:]]
    false = forge(model, honest.header, replace(honest.output, tokens=tuple(tokens), logprobs=None))
    assert judge(model, false, 20) == judge(model, honest, 20)
    assert (judge(model, false, 20).outcome, judge(model, false, 20).checked) == ("partial", 20)
    assert judge(model, false, 21).position == 20
    assert judge(model, honest, 1000) == judge(model, honest)


@pytest.mark.parametrize(("many", "enough", "read"), [(64, 1 << 13, 7), (3, 1 << 13, 3), (64, 41, 2), (64, 1, 1)])
def test_verdicts_come_as_soon_as_they_are_known(model, honest, monkeypatch, many, enough, read):
    """What is long enough runs by itself: the next receipts are not even read."""
    monkeypatch.setattr(verifying, "WINDOW", many)
    monkeypatch.setattr(verifying, "ENOUGH", enough)
    rest = iter([honest] * 7)
    verdicts = verify(model, rest)
    assert next(verdicts).outcome == "true"
    assert len(list(rest)) == 7 - read


def test_many_at_once_are_judged_each_by_itself(model, honest):
    receipts = [c.receipt for c in model.generate("abc", n=70, receipt=True, **(ASKED | {"max_tokens": 6}))[0]]
    false = receipts[33].output.tokens
    receipts[33] = forge(model, receipts[33].header, replace(receipts[33].output, tokens=(*false[:3], 5, *false[4:])))
    receipts.insert(10, honest)
    verdicts = list(verify(model, receipts))
    assert [i for i, v in enumerate(verdicts) if v.outcome != "true"] == [34]
    assert verdicts[34].position == 3


def test_none_of_a_thousand_edits_of_one_byte_verifies(model):
    data = model.chat(MESSAGES[1:], receipt=True, max_tokens=8, temperature=0.7, seed=1, logprobs=True).receipt.encode()
    draw, readable = random.Random(5), []
    for _ in range(1000):
        place = draw.randrange(len(data))
        edited = bytearray(data)
        edited[place] = draw.choice([b for b in range(256) if b != data[place]])
        try:
            readable.append(Receipt.parse(bytes(edited)))
        except ReceiptError:
            continue
    assert len(readable) > 50
    assert {verdict.outcome for verdict in verify(model, readable)} <= {"false", "unverifiable"}


def test_edits_that_stay_readable_do_not_verify_either(model):
    """Of a thousand random bytes most make no JSON; these are digits for digits and letters for letters."""
    data = model.generate("abc", receipt=True, max_tokens=8, temperature=0.7, seed=1)[0][0].receipt.encode()
    draw, readable = random.Random(6), []
    kinds = [b"0123456789abcdef", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"ghijklmnopqrstuvwxyz"]
    for _ in range(1000):
        place = draw.randrange(len(data))
        kind = next((k for k in kinds if data[place] in k), None)
        if kind is None:
            continue
        edited = bytearray(data)
        edited[place] = draw.choice([b for b in kind if b != data[place]])
        try:
            readable.append(Receipt.parse(bytes(edited)))
        except ReceiptError:
            continue
    assert len(readable) > 300
    assert {verdict.outcome for verdict in verify(model, readable)} <= {"false", "unverifiable"}
