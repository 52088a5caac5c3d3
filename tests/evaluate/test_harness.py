"""lm-evaluation-harness on our model class, and our own runner: the same likelihoods, texts and scores."""

import json

import pytest

import intact
from intact.evaluate.plan import plan
from intact.evaluate.run import evaluate
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.backends.native import NativeBackend
from intact.tasks.choose import choose
from support.models import real_model
from support.tiny import write_tiny

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: pip install '.[lm-eval]'")

ITEMS = 20

pytestmark = pytest.mark.slow


@pytest.fixture(params=["tiny", "smollm2-135m"])
def model(request, tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf", context=2048) if request.param == "tiny" else real_model(request.param)
    loaded = intact.load(path)
    yield loaded
    loaded.close()


def harness(model, task, rows, tmp_path, monkeypatch):
    """Run a task over rows in the harness; its samples in order, and its results."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    from lm_eval import simple_evaluate

    from intact.evaluate.harness import IntactLM

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {"task": "ours", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}}}
    config |= {"test_split": "test", **task}
    found = simple_evaluate(model=IntactLM(model), tasks=[config], bootstrap_iters=0, log_samples=True)
    return sorted(found["samples"]["ours"], key=lambda sample: sample["doc_id"]), found["results"]["ours"]


def ours(model, task, **options):
    asked = plan([choose(task)], "chain_of_thought", limit=ITEMS, **options)
    run = evaluate({"main": NativeBackend(model)}, asked)
    return asked, run.records, {score.metric: score.value for score in run.scores}


def test_choices_have_the_same_likelihoods_and_scores(model, tmp_path, monkeypatch, data_dir):
    asked, records, scores = ours(model, "arc_easy_likelihood")
    rows = [
        {"question": item.question, "choices": item.data["choices"], "gold": int(item.answer)}
        for item in asked.items[0]
    ]
    task = {
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    samples, results = harness(model, task, rows, tmp_path, monkeypatch)
    assert len(samples) == len(records) == ITEMS
    for sample, record in zip(samples, records, strict=True):
        theirs = [float(response[0]) for response in sample["filtered_resps"]]
        assert theirs == [one.logprob for one in record.samples]
        assert (sample["acc"], sample["acc_norm"]) == (record.correct, record.measures["acc_norm"])
    assert results["acc,none"] == scores["acc"]
    assert results["acc_norm,none"] == scores["acc_norm"]


def test_answers_are_the_same_texts_with_the_same_scores(model, tmp_path, monkeypatch, data_dir):
    asked, records, scores = ours(model, "gsm8k:style=base", sampling={"max_tokens": 64})
    task = asked.tasks[0].task
    rows = [{"prompt": task.base(item), "gold": item.answer} for item in asked.items[0]]
    declared = {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{gold}}",
        "generation_kwargs": {"until": list(task.stops), "do_sample": False, "max_gen_toks": 64},
        "filter_list": [
            {
                "name": "last",
                "filter": [
                    {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
                    {"function": "take_first"},
                ],
            }
        ],
        "metric_list": [
            {"metric": "exact_match", "regexes_to_ignore": [",", "\\$", "\\.$"], "aggregation": "mean"},
        ],
    }
    samples, results = harness(model, declared, rows, tmp_path, monkeypatch)
    for sample, record, item in zip(samples, records, asked.items[0], strict=True):
        (text,), *_ = sample["resps"]
        (leaf,) = record.samples
        assert task.read(text) == leaf.answer
        assert sample["exact_match"] == task.correct(item, leaf.answer)
    assert results["exact_match,last"] == scores["accuracy"]


def test_long_texts_are_read_in_windows_and_every_token_counts_once(tmp_path):
    from types import SimpleNamespace

    from intact.evaluate.harness import IntactLM

    model = intact.load(write_tiny(tmp_path / "tiny.gguf", context=48))
    text = "What flies? A bird does, and sometimes a fish. " * 6
    tokens = [min(model.tokenizer.eos_ids), *model.tokenizer.encode(text)]
    total, place = 0, 1
    while place < len(tokens):
        end = min(place + 47, len(tokens))
        window = tokens[max(0, end - 48) : end]
        total += int(model.logprobs(window)[-(end - place) :].sum())
        place = end
    assert len(tokens) > 100
    (found,) = IntactLM(model).loglikelihood_rolling([SimpleNamespace(arguments=(text,))])
    assert found == total / LOGPROB_SCALE
    model.close()
