"""Registries: pieces of this package's files, and of other packages by their entry points."""

import sys

import pytest

from intact._base.errors import PluginError
from intact._base.plugins import Registry
from support.adding import write_distribution

GROUP = "intact.test_pieces"
PIECE = "class Mine:\n    name = 'mine'\n    score = None\n"


def named(value: object) -> str | None:
    return vars(value).get("name") if isinstance(value, type) and hasattr(value, "score") else None


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry(GROUP, "intact.tasks.score.scorers", named)
    for module in ("of_mine", "of_broken", "of_other"):
        sys.modules.pop(module, None)


def test_pieces_are_found_by_their_files_alone(registry):
    assert "likelihood" in registry
    assert registry.origin("likelihood") == "intact"
    assert list(registry) == sorted(registry)
    assert registry.working() == dict(registry)
    assert not registry.problems()
    with pytest.raises(KeyError):
        registry["none"]


def test_a_piece_of_another_package_is_found_by_its_entry_point(registry, tmp_path):
    write_distribution(tmp_path, "package-of-mine", GROUP, {"mine": "of_mine:Mine"}, {"of_mine": PIECE})
    assert "mine" in list(registry)
    assert "of_mine" not in sys.modules  # names alone import nothing
    assert registry["mine"].name == "mine"
    assert registry.origin("mine") == "package-of-mine 1.0"


def test_a_broken_package_is_named_and_breaks_no_other(registry, tmp_path):
    write_distribution(tmp_path, "package-of-mine", GROUP, {"mine": "of_mine:Mine"}, {"of_mine": PIECE})
    write_distribution(tmp_path, "broken", GROUP, {"bad": "of_broken:Bad"}, {"of_broken": "raise OSError('no disk')"})
    with pytest.raises(PluginError, match=r"package broken 1.0: entry point 'bad' .*OSError: no disk"):
        registry["bad"]
    assert list(registry.problems()) == ["bad"]
    assert "mine" in registry.working()
    assert "likelihood" in registry.working()
    assert "bad" not in registry.working()


@pytest.mark.parametrize(
    ("entry", "module", "message"),
    [
        ("other", PIECE, "refers to <class 'of_other.Mine'>; expected an object named 'other'"),
        ("likelihood", PIECE, "intact itself uses this name"),
        ("mine", "Mine = 3", "refers to 3; expected"),
        ("mine", "", "cannot be loaded .AttributeError"),
    ],
)
def test_a_piece_of_a_wrong_kind_or_name_is_refused(registry, tmp_path, entry, module, message):
    write_distribution(tmp_path, "other", GROUP, {entry: "of_other:Mine"}, {"of_other": module})
    with pytest.raises(PluginError, match=f"package other 1.0: entry point '{entry}' .*{message}"):
        raise registry.problems()[entry]
    assert registry.working().keys() == registry.own.keys()


def test_two_packages_with_one_name_are_both_named(registry, tmp_path):
    for package in ("one", "two"):
        write_distribution(tmp_path, package, GROUP, {"mine": "of_mine:Mine"}, {"of_mine": PIECE})
    with pytest.raises(PluginError, match=r"one 1.0, two 1.0|two 1.0, one 1.0"):
        registry["mine"]
