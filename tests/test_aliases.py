"""Names that users give to models, in a file of theirs."""

import pytest

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import DEFAULT, MissingModelError, aliases, expand, is_name, resolve
from support.tiny import write_tiny


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "intact" / "aliases.toml"
    path.parent.mkdir(parents=True)
    return path


def test_without_a_file_there_are_none(file):
    assert aliases() == {}
    assert expand("anything") == "anything"


def test_an_alias_stands_for_a_path_or_a_name_on_the_hub(file, tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf")
    file.write_text(f'# mine\nsmall = "{path}"\n"my.model-1" = "hf:o/r:Q4_0"\nhome = "~/models/x"\n')
    assert resolve("small") == path
    assert intact.load("small", threads=1).path == path
    assert expand("my.model-1") == "hf:o/r:Q4_0"
    assert expand("home").endswith("/models/x")
    assert "~" not in expand("home")
    assert is_name("small")
    with pytest.raises(MissingModelError, match="intact pull hf:o/r:Q4_0"):
        resolve("my.model-1")
    with pytest.raises(ParameterError, match="/models/x: no such file"):
        resolve("home")


def test_an_alias_wins_over_a_file_of_its_name_and_a_path_over_it(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = write_tiny(tmp_path / "other.gguf")
    here = write_tiny(tmp_path / "small")
    file.write_text(f'small = "{other}"\n')
    assert resolve("small") == other
    assert resolve("./small").resolve() == here
    assert resolve(here.relative_to(tmp_path)).resolve() == here


def test_a_home_folder_that_nobody_has_is_named(monkeypatch):
    with pytest.raises(ParameterError, match="cannot find the home folder of '~nobody-here'"):
        resolve("~nobody-here/model.gguf")
    monkeypatch.setenv("INTACT_HOME", "~nobody-here/store")
    with pytest.raises(ParameterError, match="cannot find the home folder of '~nobody-here'"):
        resolve("qwen3-0.6b")


def test_a_wrong_name_suggests_aliases_too(file):
    file.write_text('smaller = "hf:o/r"\n')
    with pytest.raises(ParameterError, match="did you mean smaller"):
        resolve("smal")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = \n", r"is not valid TOML: .*line 1"),
        ('a = "hf:o/r"\nb = "x"\na = "y"\n', r"is not valid TOML: .*line 3"),
        (
            'a = "hf:o/r"\nb = "~nobody-here/x"\n',
            r"line 2: ~nobody-here/x: cannot find the home folder of '~nobody-here'",
        ),
        ('\n\nbad = "relative/path"\n', r'line 3: bad must be "hf:OWNER/REPO", or a path that begins with / or ~'),
        ('ok = "/x"\nbad = 5\n', r"line 2: bad must be .*, got 5"),
        ('ok = "/x"\n\n[bad]\nx = "y"\n', r"line 3: bad must be"),
        ('bad.x = "/y"\n', r"line 1: bad must be"),
        ('"a/b" = "/x"\n', r"line 1: an alias consists of letters, digits and ._-, at most 64, got 'a/b'"),
        (f'ok = "/x"\n{DEFAULT} = "/x"\n', f"line 2: {DEFAULT} is already a name of the catalogue"),
        ('a = "hf:nothing"\n', r"line 1: 'hf:nothing' is not a model name on the hub"),
        ('a = "hf:o/r:\\u0000"\n', r"line 1: .* expected a file or a quantisation"),
        ('a = "/x\\u0000"\n', r"line 1: a must be"),
        ("a = " + "[" * 100_000, "is not valid TOML"),
        ("#" * (1 << 20) + "#", "is longer than 1048576 bytes"),
    ],
)
def test_what_is_wrong_names_the_line(file, text, message):
    file.write_text(text)
    with pytest.raises(ParameterError, match=message) as caught:
        resolve("a")
    assert str(file) in str(caught.value)


def test_a_broken_file_concerns_no_other_names(file, tmp_path):
    file.write_text("a = \n")
    path = write_tiny(tmp_path / "tiny.gguf")
    assert resolve(path) == resolve(str(path)) == path
    with pytest.raises(MissingModelError):
        resolve(DEFAULT)


def test_a_relative_folder_of_configuration_is_passed_over(monkeypatch, file, tmp_path):
    file.write_text('a = "/x"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    assert aliases() == {}
