"""intact deduce: facts, pages, exit status."""

from tools.prove.checker import check
from tools.prove.test_deduction import FAMILY


def test_deduce_writes_facts_and_a_page(intact_command, tmp_path):
    (tmp_path / "f.p").write_text(FAMILY)
    result = intact_command("deduce", tmp_path / "f.p", "--html", tmp_path / "f.html")
    assert result.code == 0
    assert "  2  ancestor(ann,cid)  by r2" in result.out
    assert "ancestor(ann,cid)" in (tmp_path / "f.html").read_text()
    assert check(intact_command("deduce", tmp_path / "f.p", "--json").json) > 8
    bad = intact_command("deduce", tmp_path / "f.p", "--induction", "zero")
    assert (bad.code, bad.err.count("\n")) == (2, 1)
    open_ = intact_command("deduce", "-", stdin=FAMILY + "fof(g, conjecture, ancestor(cid, ann)).")
    assert open_.code == 1
    assert "open      g" in open_.out
