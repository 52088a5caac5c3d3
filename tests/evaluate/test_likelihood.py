"""Likelihoods of continuations: those of the whole text, however it is cut into steps; known ones are not computed."""

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.evaluate import likelihood as module
from intact.evaluate.likelihood import ContinuationLikelihood, Likelihoods, encode_pair, likeliest, likelihood
from intact.reason.backends.native import NativeBackend
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("likelihood") / "tiny.gguf", context=96)


@pytest.fixture(scope="module")
def model(path):
    loaded = intact.load(path, threads=1)
    yield loaded
    loaded.close()


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_a_likelihood_is_the_sum_over_the_continuation_in_any_chunks(path, model, chunk):
    cut = intact.load(path, threads=1, chunk=chunk)
    tokens = model.tokenizer.encode("Question: what flies?\nAnswer: a bird in the sky")
    each, logits = model.logprobs(tokens), model.logits(tokens, raw=True)[0]
    for start in (1, 9, len(tokens) - 1):
        found = likelihood(cut, tokens, start)
        assert found.logprob == each[start - 1 :].sum()
        assert (found.tokens, found.read) == (len(tokens) - start, len(tokens))
        assert found.greedy == bool((logits[start - 1 : -1].argmax(axis=1) == np.array(tokens[start:])).all())
    cut.close()


def test_the_likeliest_continuation_is_greedy(model):
    tokens = model.tokenizer.encode("Question: what")
    best = int(model.logits(tokens).argmax(axis=1)[-1])
    assert likelihood(model, [*tokens, best], len(tokens)).greedy
    assert not likelihood(model, [*tokens, (best + 1) % 256], len(tokens)).greedy


def test_spaces_belong_to_the_continuation_and_nothing_at_all_is_an_end_token(model):
    assert encode_pair(model.tokenizer, "two ", "words") == encode_pair(model.tokenizer, "two", " words")
    tokens, start = encode_pair(model.tokenizer, "", "words")
    assert (tokens[0] in model.tokenizer.eos_ids, start) == (True, 1)


def test_what_cannot_be_scored_is_named(model):
    with pytest.raises(ParameterError, match="need at least one token each, got 3 and 0"):
        likelihood(model, [5, 6, 7], 3)
    with pytest.raises(ParameterError, match="longer than the context of 96"):
        likelihood(model, [5] * 97, 3)
    with pytest.raises(ParameterError, match="not an endpoint"):
        Likelihoods(object())


def test_known_likelihoods_are_not_computed_again(model, tmp_path, monkeypatch):
    backend, choices = NativeBackend(model), ["a bird", "a stone"]
    first = Likelihoods(backend, tmp_path)
    found = first.of("What flies?", choices)
    first.close()
    monkeypatch.setattr(module, "likelihood", pytest.fail)
    again = Likelihoods(backend, tmp_path)
    assert again.of("What flies?", choices) == found
    again.close()


def test_of_equals_the_first_is_likeliest_and_lengths_decide_where_asked():
    found = [
        ContinuationLikelihood(-30, False, 1, 1),
        ContinuationLikelihood(-20, False, 1, 1),
        ContinuationLikelihood(-20, False, 1, 1),
    ]
    assert likeliest(found) == 1
    assert likeliest(found, ["abcdef", "ab", "abc"]) == 0
