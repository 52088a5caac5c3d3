"""Modules by the names that they had before the packages were gathered."""

import pickle
import subprocess
import sys
from importlib import import_module

import pytest

from intact._base.errors import ParameterError
from intact._base.moved import new_name


def test_old_names_are_the_modules_themselves():
    code = """if True:
        import importlib, sys, warnings
        from intact._base.moved import MOVED
        for old, new in MOVED.items():
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                sys.modules.pop(f"intact.{old}", None)
                exec(f"import intact.{old}")
            module = importlib.import_module(f"intact.{new}")
            assert sys.modules[f"intact.{old}"] is module, old
            assert module.__name__ == module.__spec__.name == f"intact.{new}", old
            told = f"intact.{old} has moved to intact.{new}: import that module instead"
            found = [one for one in found if str(one.message) == told]
            assert [(one.category, one.filename) for one in found] == [(FutureWarning, "<string>")], old
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_of_old_packages_are_no_copies():
    code = """if True:
        import sys, warnings
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            from intact.score.answers import READERS
        import intact.tasks.score.answers as answers
        assert READERS is answers.READERS
        assert sys.modules["intact.score.answers"] is sys.modules["intact.tasks.score.answers"]
        assert len(found) == 1, found
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pickles_with_old_names_are_read():
    sys.modules.pop("intact.errors", None)
    with pytest.warns(FutureWarning, match="has moved"):
        found = pickle.loads(b"cintact.errors\nParameterError\n.")
    assert found is ParameterError


@pytest.mark.filterwarnings("ignore:intact.score has moved")
def test_names_of_nothing_stay_unknown():
    assert new_name("intact.engine.driver") is None
    assert new_name("other.score") is None
    for name in ("intact.nothing", "intact.score.nothing"):
        with pytest.raises(ModuleNotFoundError, match="nothing"):
            import_module(name)


def test_importing_the_package_reads_no_table():
    code = "import sys, intact; assert 'intact._base.moved' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
