"""Modules by the names that they had before the packages were gathered."""

import pickle
import subprocess
import sys
from importlib import import_module

import pytest

from intact._base.errors import ParameterError
from intact._base.moved import MOVED, new_name


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_module_itself(old, new):
    code = f"""if True:
        import sys, warnings
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            import intact.{old} as old
        import intact.{new} as new
        assert old is new, (old, new)
        assert new.__name__ == new.__spec__.name == "intact.{new}"
        assert "intact.{old} has moved to intact.{new}: import that" in [str(one.message) for one in found]
        assert all(issubclass(one.category, FutureWarning) and one.filename == "<string>" for one in found), found
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
