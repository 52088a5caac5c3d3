"""docs/formats.md is what benchmarks/formats.py writes of the records, and its list of specs can be read."""

import sys

from intact.cli.lab import read_specs
from intact.evaluate.report.markdown import markdown
from intact.quantizers import parse_target
from support.modules import ROOT, load

sys.path.append(str(ROOT / "benchmarks"))  # where formats.py finds common.py
FORMATS = load("benchmarks/formats.py")


def test_the_page_is_written_from_the_records(root):
    text, pictures = markdown(FORMATS.page(list(FORMATS.results())), "formats")
    assert (root / "docs" / "formats.md").read_text("utf-8") == FORMATS.wrapped(text)
    assert all((root / "docs" / name).is_file() for name in pictures)


def test_claims_name_specs_of_the_list():
    listed = {str(parse_target(spec)) for spec in read_specs(FORMATS.SPECS)}
    assert len(listed) >= 30
    for claim in FORMATS.CLAIMS:
        assert {str(parse_target(spec)) for spec in claim[1:]} <= listed
