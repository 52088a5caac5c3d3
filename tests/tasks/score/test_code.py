"""Programs are found in answers, and pass only if their tests ran to the end."""

import pytest

from intact._base.errors import UndecidedError
from intact.tasks.score import code
from intact.tools.sandbox import ProgramLimits, protection, run


@pytest.mark.parametrize(
    ("text", "entry", "program"),
    [
        ("Sure:\n```python\ndef f():\n    return 1\n```\nDone.", "f", "def f():\n    return 1\n"),
        ("```\nx = 1\n```\n```python\ndef f():\n    pass\n```\n```py\nf()\n```", "f", "def f():\n    pass\n"),
        ("```python\ndef f():\n    return 1", "f", "def f():\n    return 1\n"),
        ("    return 1\n\nprint(f())\n", "f", "    return 1\n"),
        (
            "    return (\n        1\n    )\n# more\n    x = 2\ndef g():",
            "f",
            "    return (\n        1\n    )\n# more\n    x = 2\n",
        ),
        ("def f(): return 1", "f", "def f(): return 1\n"),
        ("f = lambda: 1", "f", "f = lambda: 1\n"),
        ("I cannot do that.", "f", None),
        ("", "f", None),
        ("```python\n```", "f", None),
        ("```bash\npip install x\n```\nThen:\n```python\ndef f():\n    pass\n```\nDone.", "f", "def f():\n    pass\n"),
        ("```bash\npip install x\n```\nThen:\n```python\nx = 1\n```\nDone.", "f", "x = 1\n"),
        ("```bash\npip install x\n```", "f", None),
        ('```python title="a.py"\ndef f(): pass\n```\nDone.', "f", "def f(): pass\n"),
        ("```Python3\ndef f(): pass\n```\nDone.", "f", "def f(): pass\n"),
        ("```python\r\ndef f(): pass\r\n```\r\nDone.", "f", "def f(): pass\n"),
        ("~~~python\ndef f():\n    '```'\n~~~\nDone.", "f", "def f():\n    '```'\n"),
        ("````\n```\ndef f(): pass\n````\nDone.", "f", "```\ndef f(): pass\n"),
        ("```markdown\n```python\ndef f(): pass\n```\n```", "f", "def f(): pass\n"),
        ("```python\ndef f(): pass\n```Done.\n```\nf()\n```", "f", "def f(): pass\n"),
        ("1. Here:\n   ```python\n   def f():\n       pass\n   ```\nDone.", "f", "def f():\n    pass\n"),
        ("- ```python\n  def f():\n      pass\n  ```\nDone.", "f", "def f():\n    pass\n"),
        ("```python\n    return 1\n```", "f", "    return 1\n"),
        (
            "```python\ndef f():\n    '''\n    ```\n    f()\n    ```\n    '''\n```\nDone.",
            "f",
            "def f():\n    '''\n    ```\n    f()\n    ```\n    '''\n",
        ),
        ("A ``` is a fence.\n```python\ndef f(): pass\n```", "f", "def f(): pass\n"),
    ],
)
def test_the_program_is_taken_out_of_its_text(text, entry, program):
    assert code.extract(text, entry) == program


F = "def f():\n    return 1\n"
SPEAKING = "import math\n\ndef f():\n    '''Say.\n\nmore\n'''\n    return 2\n"
HELPER = "def g():\n    return h\n\nh = 2"


def fenced(*programs):
    return "\nThen:\n".join(f"```python\n{program}\n```" for program in programs)


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (f"{F}```\nDone.", F),
        (f"Here is the function:\n\n{F}\nIt returns 1.", F),
        (f"Explanation\n{F}Done", F),
        (f"Here it is: ```python\n{F}```\nDone.", F),
        ("```python\ndef f():\n    return 1```\nDone: it works.", F),
        (f"{F}```\nTry it:\n```python\nprint(f())\n```", F),
        ("    return 1\n```\nThis is it.", "    return 1\n"),
        (
            fenced("def g():\n    return 1", "def f():\n    return g()"),
            "def g():\n    return 1\n\ndef f():\n    return g()\n",
        ),
        (
            fenced("import re", "def f(x):\n    return re.sub(x)", "print(f(4))"),
            "import re\n\ndef f(x):\n    return re.sub(x)\n",
        ),
        (fenced("def f():\n    return g()", f"{HELPER}\nprint(h)"), f"{HELPER}\n\ndef f():\n    return g()\n"),
        (f"Sure!\n{SPEAKING}\nNote: it works\nDone", SPEAKING),
        ("def f():\n    return (\n", "def f():\n    return (\n"),
    ],
)
def test_prose_loose_fences_and_helpers_hide_no_program(text, program):
    assert code.extract(text, "f") == program


def test_a_continuation_gets_its_head_and_a_whole_function_only_what_stands_above():
    before = "import math\n\ndef f(x):\n    '''Say.'''\n"
    assert code.complete("    return x\n", before, "f") == before + "    return x\n"
    assert code.complete("def f(x):\n    return x\n", before, "f") == "import math\n\ndef f(x):\n    return x\n"
    assert code.complete("import math\ndef f(x):\n    return x\n", before, "f").count("import math") == 1


def test_looks_do_not_split_votes():
    assert code.canonical("def f( x ):  # yes\n  return x+1\n") == code.canonical("def f(x):\n    return x + 1\n")
    assert code.canonical("def f(:") == "def f(:"


def test_examples_of_a_docstring_become_assertions():
    lines = ["Say.", ">>> f(1) # one", "2", ">>> x = f(2)", ">>> f([2])", "(3, 4)", ">>> f(0)", "error here"]
    prompt = 'def f(x):\n    """' + "\n    ".join(lines) + '\n    """\n'
    assert [test.replace(" ", "") for test in code.doctests(prompt)] == ["assert(f(1))==(2)", "assert(f([2]))==((3,4))"]


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("def f(x):\n    return x + 1", True),
        ("def f(x):\n    return x + 2", False),
        ("def f(x):\n    print('noise', end='')\n    return x + 1", True),
        ("def f(x):", False),
        ("import sys\nsys.exit(0)", False),
        ("import os\nos._exit(0)", False),
        ("raise SystemExit", False),
        ("print('passed')\nf = None", False),
    ],
)
def test_only_code_whose_tests_ran_to_the_end_passes(program, verdict):
    assert code.passes(program, ["assert f(1) == 2", "assert f(2) == 3"]) == verdict


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
def test_an_endless_program_fails_by_its_steps_however_fast_the_machine_is():
    limits = ProgramLimits(seconds=600, cpu_seconds=300, steps=100_000)
    loop = "def f(x):\n    i = 0\n    while i < {}:\n        i += 1\n    return x + 1"
    assert code.passes(loop.format(90_000), ["assert f(1) == 2"], limits)
    assert not code.passes(loop.format(100_000), ["assert f(1) == 2"], limits)
    assert not code.passes(loop.format("i + 1"), ["assert f(1) == 2"], limits)


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
@pytest.mark.parametrize(
    "limits", [ProgramLimits(seconds=600, cpu_seconds=1), ProgramLimits(seconds=1.5, cpu_seconds=300)]
)
def test_where_time_ends_a_program_its_verdict_is_undecided(limits):
    for program in ("def f(x):\n    return x + 1\nsum(range(10**15))", "import time\ntime.sleep(1000)"):
        if "sleep" in program and limits.seconds > 10:
            continue
        with pytest.raises(UndecidedError, match=r"did not finish: more than .* s"):
            code.passes(program, ["assert f(1) == 2"], limits)


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
def test_a_program_that_is_killed_from_outside_is_undecided():
    with pytest.raises(UndecidedError, match="a signal from outside ended it"):
        code.passes("import os\nos.kill(os.getpid(), 9)", [], ProgramLimits(seconds=600, cpu_seconds=300))


def test_a_mark_counts_only_as_the_last_line():
    _, mark = code.testing("x = 1", "assert x")
    assert code.passed(f"noise\n{mark}\n", mark)
    for stdout in (f"{mark}\nmore\n", f"{mark} \n", f"x{mark}\n", f"{mark}x\n", f"{mark}\n\n.", ""):
        assert not code.passed(stdout, mark)
    _, mark = code.counting("x = 1", ["assert x"])
    assert code.counted(f"noise\n{mark} 1\n", mark) == 1
    for stdout in (f"{mark} 1\nmore\n", f"x{mark} 1\n", f"{mark} 1 1\n", f"{mark} x\n", f"{mark}\n", ""):
        assert code.counted(stdout, mark) == 0


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
def test_what_a_program_writes_behind_its_tests_makes_it_fail():
    program = "import atexit\natexit.register(print, 'an error occurred')\ndef f(x):\n    return x + 1\n"
    assert not code.passes(program, ["assert f(1) == 2"])


NAMES = "def print(*_): pass\ndef exec(*_): pass\ndef globals(): pass\n"


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
def test_names_of_builtins_that_a_program_takes_for_its_own_change_no_verdict():
    tests = ["assert f(1) == 2", "assert f(2) == 3"]
    for body, right in (("def f(x): return x + 1\n", True), ("def f(x): return 2\n", False)):
        assert code.passes(NAMES + body, tests) is right
        program, mark = code.counting(NAMES + body, tests)
        assert code.counted(run(program, limits=code.TESTING).stdout, mark) == 1 + right
