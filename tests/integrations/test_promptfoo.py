"""promptfoo itself runs an evaluation through the provider file (nightly; `npm install promptfoo` installs it)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import intact
from intact.integrations import promptfoo
from intact.receipts.document import read_receipts
from intact.receipts.verify import verify

pytestmark = pytest.mark.nightly
PROGRAM = os.environ.get("INTACT_PROMPTFOO", "")
GRADE = {
    "type": "object",
    "properties": {"pass": {"type": "boolean"}, "score": {"enum": [0, 1]}, "reason": {"enum": ["right", "wrong"]}},
    "required": ["pass", "score", "reason"],
    "additionalProperties": False,
}
QUESTIONS = ("Why?", "When?", "Who is it?")


def evaluate(folder, config):
    """Run an evaluation; return promptfoo's results, in the order of the questions."""
    folder.mkdir()
    (folder / "promptfooconfig.yaml").write_text(yaml.safe_dump(config))
    environment = os.environ | {
        "PROMPTFOO_PYTHON": sys.executable,
        "PROMPTFOO_CONFIG_DIR": str(folder / "state"),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PYTHONPATH": str(Path(intact.__file__).parents[1]),
    }
    words = [PROGRAM, "eval", "-c", "promptfooconfig.yaml", "--no-cache", "--no-table", "--output", "results.json"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert (folder / "results.json").exists(), done.stdout + done.stderr
    rows = json.loads((folder / "results.json").read_text())["results"]["results"]
    return sorted(rows, key=lambda row: row["testIdx"])


@pytest.mark.skipif(not PROGRAM, reason="INTACT_PROMPTFOO names no promptfoo: `npm install promptfoo` installs one")
def test_promptfoo_evaluates_and_judges_with_receipts_and_answers_that_stay(server, tiny_path, tmp_path):
    file = f"file://{Path(promptfoo.__file__).resolve()}"

    def provider(name, **more):
        place = {"model": "tiny", "base_url": server.url, "receipts": str(tmp_path / name)}
        return {"id": file, "config": place | more}

    schema = {"type": "json_schema", "json_schema": {"name": "grade", "schema": GRADE, "strict": True}}
    judge = {"type": "llm-rubric", "value": "Is it polite?", "provider": provider("verdicts", response_format=schema)}
    config = {
        "prompts": ["Answer: {{question}}"],
        "providers": [provider("answers", max_tokens=12)],
        "tests": [{"vars": {"question": question}, "assert": [judge]} for question in QUESTIONS],
    }
    first = evaluate(tmp_path / "first", config)
    outputs = [row["response"]["output"] for row in first]
    assert len(outputs) == len(QUESTIONS)
    assert len(set(outputs)) > 1
    grades = [row["gradingResult"]["componentResults"][0] for row in first]
    assert {grade["reason"] for grade in grades} <= {"right", "wrong"}
    again = evaluate(tmp_path / "again", config | {"tests": config["tests"][::-1]})
    assert [row["response"]["output"] for row in again][::-1] == outputs
    model = intact.load(tiny_path)
    for name, count in (("answers", 6), ("verdicts", 6)):
        receipts = list(read_receipts(tmp_path / name))
        assert len(receipts) == count
        assert {one.outcome for one in verify(model, receipts)} == {"true"}
    assert {one.output.text for one in read_receipts(tmp_path / "answers")} == set(outputs)
