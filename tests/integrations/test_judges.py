"""Judges of deepeval, opik and promptfoo: each in its own tool's class, with verdicts that company does not change."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

import intact
from intact._base.errors import EndpointError
from intact._base.packages import missing
from intact.integrations import promptfoo
from intact.integrations.judging import JudgeModel, question
from intact.receipts.document import read_receipts
from intact.receipts.verify import verify


class Verdict(BaseModel):
    """A verdict with its reason."""

    verdict: Literal["yes", "no"]
    points: Literal[0, 1, 2]


QUESTIONS = [question(f"Is {number} even?") for number in range(6)]


@pytest.fixture(params=["here", "server"])
def place(request, tiny_path):
    if request.param == "here":
        return {"model": str(tiny_path)}
    return {"model": "tiny", "base_url": request.getfixturevalue("server").url}


def test_verdicts_have_their_form_and_company_changes_none(place, tiny_path, tmp_path):
    judge = JudgeModel(**place, receipts=tmp_path / "verdicts")
    alone = [judge.value(one, Verdict) for one in QUESTIONS]

    async def together():
        return await asyncio.gather(*(asyncio.to_thread(judge.value, one, Verdict) for one in reversed(QUESTIONS)))

    assert asyncio.run(together())[::-1] == alone
    receipts = list(read_receipts(tmp_path / "verdicts"))
    assert {one.outcome for one in verify(intact.load(tiny_path), receipts)} == {"true"}
    assert [Verdict.model_validate_json(one.output.text) for one in receipts[:6]] == alone
    with pytest.raises(EndpointError, match="raise max_tokens"):
        judge.value(QUESTIONS[0], Verdict, max_tokens=2)
    judge.close()


@pytest.mark.skipif(bool(missing("deepeval")), reason="needs deepeval")
def test_a_metric_of_deepeval(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # deepeval writes a folder
    monkeypatch.setenv("DEEPEVAL_TELEMETRY_OPT_OUT", "YES")
    from deepeval.metrics import GEval
    from deepeval.test_case import LLMTestCase, SingleTurnParams

    from intact.integrations.deepeval import DeepEvalJudge

    judge = DeepEvalJudge(**place, receipts=tmp_path / "verdicts", max_tokens=400, temperature=1, seed=3)
    assert judge.generate("Is 2 even?", Verdict).verdict in ("yes", "no")
    assert asyncio.run(judge.a_generate("Is 2 even?", schema=Verdict)) == judge.generate("Is 2 even?", schema=Verdict)
    assert isinstance(judge.generate("Is 2 even?"), str)
    assert judge.get_model_name().startswith("intact ")
    metric = GEval(
        name="parity",
        evaluation_steps=["Say whether the answer is right."],
        evaluation_params=[SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT],
        model=judge,
        async_mode=False,
    )
    with suppress(EndpointError):  # a random model may write a reason without an end
        metric.measure(LLMTestCase(input="Is 2 even?", actual_output="yes"), _show_indicator=False)
    assert len(judge.judge.file.receipts) >= 5
    judge.close()


@pytest.mark.skipif(bool(missing("opik")), reason="needs opik")
def test_a_judge_of_opik(place, tmp_path, monkeypatch):
    monkeypatch.setenv("OPIK_TRACK_DISABLE", "true")
    from opik.evaluation.models import base_model

    from intact.integrations.opik import OpikJudge

    place["model_name"] = place.pop("model")
    judge = OpikJudge(**place, receipts=tmp_path / "verdicts")
    text = judge.generate_string("Is 2 even?", response_format=Verdict)
    assert Verdict.model_validate_json(text).verdict in ("yes", "no")
    assert asyncio.run(judge.agenerate_string("Is 2 even?", response_format=Verdict)) == text
    assert judge.generate_chat_completion(question("Is 2 even?"), Verdict) == {"role": "assistant", "content": text}
    with base_model.get_provider_response(judge, question("Is 2 even?"), response_format=Verdict) as response:
        assert response["choices"][0]["message"]["content"] == text
    assert len(judge.judge.file.receipts) == 4
    judge.close()


def test_promptfoos_provider_answers_and_keeps_receipts(place, tiny_path, tmp_path):
    config = place | {"receipts": str(tmp_path / "kept"), "max_tokens": 8, "basePath": str(tmp_path)}
    found = promptfoo.call_api("Why?", {"config": config}, {"vars": {}})
    assert promptfoo.call_api(json.dumps(question("Why?")), {"config": config}, {})["output"] == found["output"]
    assert found["tokenUsage"]["completion"] == 8
    receipts = list(read_receipts(tmp_path / "kept"))
    assert [one.output.text for one in receipts] == [found["output"]] * 2
    assert {one.outcome for one in verify(intact.load(tiny_path), receipts)} == {"true"}
    wrong = promptfoo.call_api("Why?", {"config": config | {"temperature": -1}}, {})
    assert "temperature" in wrong["error"]


def test_the_path_of_promptfoos_provider_is_printed():
    command = [sys.executable, "-m", "intact.integrations.promptfoo"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(printed.strip().removeprefix("file://")) == Path(promptfoo.__file__)
