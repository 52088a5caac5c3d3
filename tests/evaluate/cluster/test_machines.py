"""Machines that differ: another version or numerics is refused by name, another file of the model replaced."""

from dataclasses import replace

import pytest

from intact import __version__
from intact.evaluate.cluster.machines import probe, refusal, versions
from intact.evaluate.cluster.models import receive, ship
from intact.numerics import VERSION


def test_a_machine_like_this_one_takes_part():
    assert refusal(probe()()) == refusal(versions()) == ""


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"intact": "0.0.1"}, f"its version of intact is 0.0.1; expected {__version__}"),
        ({"numerics": "none"}, f"its version of numerics is none; expected {VERSION}"),
        ({"intact": "missing (no module)"}, f"its version of intact is missing (no module); expected {__version__}"),
    ],
)
def test_another_version_or_numerics_is_refused_by_name(found, why):
    assert refusal(versions() | found) == why


def test_a_file_of_the_models_name_with_another_digest_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    here, there = tmp_path / "here" / "model.gguf", tmp_path / "there" / "model.gguf"
    for place, data in ((here, b"the right one"), (there, b"the wrong one")):
        place.parent.mkdir()
        place.write_bytes(data)
    shipment = ship(here, {})
    place = receive(replace(shipment, path=there), shipment.read)
    assert place != there
    assert place.read_bytes() == here.read_bytes()
