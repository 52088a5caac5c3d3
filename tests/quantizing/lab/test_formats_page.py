"""study/formats.md is what benchmarks/formats.py writes of the records, and its list of specs can be read."""

import json
import sys

from intact.cli.lab import read_specs
from intact.evaluate.report.markdown import markdown
from intact.quantizing.quantizers import parse_target
from support.modules import ROOT, load

sys.path.append(str(ROOT / "benchmarks"))  # where formats.py finds common.py
FORMATS = load("benchmarks/formats.py")


def test_the_page_is_written_from_the_records(root):
    text, pictures = markdown(FORMATS.page(list(FORMATS.results())), "formats")
    assert (root / "study" / "formats.md").read_text("utf-8") == FORMATS.wrapped(text)
    assert all((root / "study" / name).is_file() for name in pictures)


def test_claims_name_specs_of_the_list():
    listed = {str(parse_target(spec)) for spec in read_specs(FORMATS.SPECS)}
    assert len(listed) >= 30
    for claim in FORMATS.CLAIMS:
        assert {str(parse_target(spec)) for spec in claim[1:]} <= listed


def test_accuracies_stand_on_the_page_with_the_most_items_of_their_weights(tmp_path, monkeypatch):
    (name, _, result), *_ = FORMATS.results()
    spec = result.rows[0].spec
    own = {"setting": name, "weights": result.weights, "task": "arc_easy_likelihood"}
    lines = [
        own | {"items": 4, "spec": spec, "right": "0111"},
        own | {"items": 4, "spec": "source", "right": "1110"},
        own | {"items": 2, "spec": spec, "right": "01"},
        own | {"weights": "0" * 64, "items": 9, "spec": spec, "right": "111111111"},
    ]
    monkeypatch.setattr(FORMATS, "ACCURACY", tmp_path / "accuracy.jsonl")
    (tmp_path / "accuracy.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = FORMATS.accuracies(name, result.weights)
    assert [(one.spec, one.right) for one in found] == [
        ("source", (True, True, True, False)),
        (spec, (False, True, True, True)),
    ]
    text, _ = markdown(FORMATS.page(list(FORMATS.results())[:1]), "formats")
    assert "| source | arc\\_easy\\_likelihood | 4 | 75.0% |" in text


def test_records_of_mixtures_without_a_cost_mean_output():
    assert FORMATS.recorded({"spec": "mix:4(int4|int8)"}).startswith("mix:4@output(")
    assert FORMATS.recorded({"spec": "mix:4@divergence(int4|int8)"}).startswith("mix:4@divergence(")
