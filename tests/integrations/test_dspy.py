"""DSPy: programs run on our models, in this process and on a server, and their receipts verify."""

import asyncio

import pytest

dspy = pytest.importorskip("dspy", reason="needs dspy")

import intact  # noqa: E402
from intact._base.errors import ParameterError  # noqa: E402
from intact.integrations.dspy import lm  # noqa: E402
from intact.receipts.document import read_receipts  # noqa: E402
from intact.receipts.verify import verify  # noqa: E402

SAMPLED = {"temperature": 0.9, "max_tokens": 16}


@pytest.fixture(params=["here", "server"])
def made(request, tiny_path, tmp_path):
    """A language model that keeps its receipts in a file, and asks anew each time."""
    settings = {"receipts": tmp_path / "dspy.receipts", "cache": False, "options": {"seed": 5}, **SAMPLED}
    if request.param == "here":
        return lm(str(tiny_path), **settings)
    return lm("tiny", request.getfixturevalue("server").url, **settings)


def test_an_answer_is_the_librarys_with_its_receipt(made, tiny_path, tmp_path):
    model = intact.load(tiny_path)
    wanted = model.chat([{"role": "user", "content": "Why?"}], seed=5, **SAMPLED)
    assert made("Why?") == [wanted.text]
    assert asyncio.run(made.acall("Why?")) == [wanted.text]
    assert made.history[0]["usage"]["completion_tokens"] == len(wanted.tokens)
    receipts = list(read_receipts(tmp_path / "dspy.receipts"))
    assert [one.output.text for one in receipts] == [wanted.text, wanted.text]
    assert [one.outcome for one in verify(model, receipts)] == ["true", "true"]


def test_a_program_gets_the_form_that_it_asks_for(made):
    class Colour(dspy.Signature):
        """Name a colour."""

        question: str = dspy.InputField()
        warm: bool = dspy.OutputField()

    with dspy.context(lm=made, adapter=dspy.JSONAdapter()):
        answer = dspy.Predict(Colour)(question="Red?", config={"max_tokens": 64})
    assert answer.warm in (True, False)


def test_mistakes_are_dspys_errors(made):
    with pytest.raises(Exception, match="temperature"):
        made("Why?", temperature=-1.0)
    with pytest.raises(ParameterError, match="threads cannot be set for a server"):
        lm("tiny", "http://127.0.0.1:9", threads=2)
