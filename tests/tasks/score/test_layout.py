"""Programs have one layout, which no version of Python decides and which means the same as before."""

import ast
import json
import random
import sysconfig
from pathlib import Path

import pytest

from intact.tasks import find_task
from intact.tasks.score import code
from intact.tasks.score.layout import laid_out
from support import pythons

TELLING = [
    "def f(x):\n  return f\"{x!r:>{10}} {'a'}\"  # f-strings are split into tokens from 3.12 on\n",
    "print(f\"{d['a b']}  {x:#x} {{ }}\", f'{x:\\n}')\n",
    'print(f"{d["a  # b"]}")\n',
    'f"""{\n  x  # a comment, from 3.12 on\n}"""\n',
    'rf"\\{x}" f"\\N{EN DASH}{x}" Rb"\\d" u"\'" b\'"\'\n',
    'def f():\n        """Doc\n        string."""\n        return \'\'\n',
    "type X[T] = list[T]\ndef f[T: int](x: T) -> T: return x\n",
    "def f(a, /, b, *, c: int = -1, **d): return a[b:-c, ...], (yield), *d\n",
    "with (open(a) as b, open(c) as d):\n\tpass\nmatch x:\n\tcase [1, *_]: pass\n\tcase {**r}: pass\n",
    "x = 1 .real + 1..real + 0x1F-1 + 1e-5 + 1_0 + 1if 1else 2\n",
    "from . import a\nfrom .. import b\nfrom ...c import d\n@ a . b\nclass C ( D ) : x : int = 1 ; y = 2 ;\n",
    "if a: \\\n  b = not - c ** - d\nelse : b = lambda * a , ** k : ~ a @ k\n",
    "x = {**a, 'b': [*c], **d}; x [ 1 : 2 , :: 3 ] ( y ) . z [ - 1 ] = a if not ( b ) else - c\n",
    "class Größe: π = '\u00e9\U0001f600' ; x\u00a0= 1\n",
    "if x:\n\ty\n        z\n",
    "def f(:",
    "x = 'open\n",
    "x = '" + "\\" * 3,
    'f"{' * 40,
    "a ? b $ c\n",
    "",
    "# nothing\n",
    "x\r\ny\rz",
]
"""Programs, some no Python, at which versions of Python or their libraries do not agree."""
PROMPTS = [
    ">>> f('it''s', \"it's\", f'{1!r}', f\"{'a'}\")\n'a' \"b\"\n",
    ">>> f({'a': 1, **{}}, [*()])  # comment\n{'a':\n  1}\n",
    ">>> f(1.10, 1e400, 0x10, 1_000, -1, not x)\n(1,)\n>>> f()\n1, 2\n>>> x = 1\n>>> f()\nerror here\n",
]
ASK = """
import json, sys
from intact.tasks.score import code
programs, prompts = json.load(sys.stdin)
print(json.dumps([[code.canonical(p) for p in programs], [code.doctests(p) for p in prompts]]))
"""


def library() -> list[str]:
    """Sources of this Python's library, in an order of chance."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return [path.read_text("utf-8") for path in random.Random(1).sample(files, 30)]


@pytest.mark.parametrize("program", [*TELLING, *library()])
def test_a_program_means_the_same_and_its_layout_is_final(program):
    found = laid_out(program)
    try:
        tree = ast.dump(ast.parse(program))
    except (SyntaxError, ValueError):
        tree = None
    if found is None:
        return
    assert laid_out(found) == found
    if tree is None:
        with pytest.raises((SyntaxError, ValueError)):
            ast.parse(found)
    else:
        assert ast.dump(ast.parse(found)) == tree


def test_what_this_python_reads_has_a_layout():
    assert [program for program in library() if laid_out(program) is None] == []


def test_the_layout_is_as_people_write():
    rows = {
        "def f( a,b = - 1,*c,**d )->int :\n\tif a :return(a+b*-c [1:2] . d( e ))\n": (
            "def f(a, b = -1, *c, **d) -> int:\n    if a: return (a + b * -c[1:2].d(e))\n"
        ),
        '\n\nx=[i for i in"ab"if(i!="c")]   # why\n': "x = [i for i in 'ab' if (i != 'c')]\n",
        "x = {'a':1}\nif x :\n        y(\n 1,\n\n )\n        # z\n\n": "x = {'a': 1}\nif x:\n    y(1,)\n",
    }
    assert {program: laid_out(program) for program in rows} == rows


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 'a  b'\n", "x = 'a b'\n"),
        ("x = '#a'\n", "x = '#b'\n"),
        ("if a:\n    b\nc\n", "if a:\n    b\n    c\n"),
        ("a. b\n", "a, b\n"),
        ('x = f"{d["a  b"]}"\n', 'x = f"{d["a b"]}"\n'),
        ("x = (a= =b)\n", "x = (a==b)\n"),
        ("x[a: =b]\n", "x[a:=b]\n"),
        ("1 .real\n", "1. real\n"),
        ("a\nb\n", "a; b\n"),
        ("r'a'\n", "'a'\n"),
    ],
)
def test_different_programs_keep_different_layouts(one, other):
    assert laid_out(one) != laid_out(other)


def test_what_cannot_be_split_stays_as_it_is():
    for program in (
        "def f(:",
        "x = 'open\n",
        'f"{' * 5000,
        "if a:\n\tb\n        c\n",
        "if a:\n  b\n c\n",
        "a ? b\n",
        ")",
    ):
        assert laid_out(program) is None
        assert code.canonical(program) == program


def test_every_version_of_python_gives_the_same_bytes():
    asked = json.dumps([TELLING + library(), PROMPTS])
    found = pythons.outputs(ASK, asked)
    programs, tests = json.loads(next(iter(found.values())))
    assert len(programs) == len(TELLING) + 30
    assert sum(map(len, tests)) == 4
    assert len(set(found.values())) == 1, {version: text[:300] for version, text in found.items()}


def test_every_version_of_python_gives_the_same_bytes_for_the_published_tasks(data_dir):
    items = [item for name in ("humaneval", "mbpp") for item in find_task(name).load(folder=data_dir)]
    whole = [code.complete(item.answer, item.data["before"], item.data["entry"]) for item in items]
    assert all(ast.dump(ast.parse(code.canonical(text))) == ast.dump(ast.parse(text)) for text in whole)
    found = pythons.outputs(ASK, json.dumps([whole, [item.question for item in items]]))
    assert len(set(found.values())) == 1, {version: text[:300] for version, text in found.items()}
