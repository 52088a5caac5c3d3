"""The behaviour of every declared version, pinned by a digest over stored cases.

`python -m support.pins`, run in the folder `tests`, writes `pins.json` anew. It refuses where a piece behaves otherwise
than is pinned under the same versions, unless the piece is named: because its cases changed, or a library's numbers.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import isgeneratorfunction
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any
from unittest.mock import patch

import numpy as np

from intact.engine.hidden import HiddenState
from intact.measure.bench.shapes import tokenizer_metadata
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.parts.choice import Arm, Policy, pilot_arm
from intact.reason.parts.prompting import make_prompt
from intact.reason.problem import Piece, Problem, State
from intact.reason.registry import all_methods
from intact.reason.testing.checks import Anywhere, LetterScorer, ToyTrial
from intact.reason.testing.small import PROVABLE
from intact.reason.testing.toy import WEIGHTS, MarkovBackend
from intact.reason.tools import TOOLS, find_tool
from intact.reason.tools.python import PythonTool
from intact.solving.receipts.versions import versions_of
from intact.tasks import Item, Task, all_tasks
from intact.tasks.choice import Choice
from intact.tasks.score import answers, arithmetic, code, equations
from intact.tasks.score.scorers import SCORERS, find_scorer
from intact.tasks.score.scorers.prefix_value import PrefixValue
from intact.tasks.score.value import NextHead, ValueHead
from intact.tasks.score.value.prefixes import PrefixCount, PrefixTable, ValuedProblem, digest_of
from intact.text import Tokenizer
from intact.text.thinking import HARMONY, answer_part
from intact.tools.prove.assistants import find_assistant
from intact.tools.sandbox import protection
from support.tiny import TEMPLATE

FILE = Path(__file__).with_name("pins.json")
COMMAND = "cd tests && python -m support.pins"
UNPINNED = {"scorer reward"}
"""Needs a model of Transformers, and is refused wherever versions count: no receipt can name it."""

TEXTS = (
    "",
    "I do not know.",
    "The answer is 42.",
    "So 17 + 25 = 42.\n#### 42",
    "#### 1,234.50\n#### -3/4",
    "\\boxed{\\frac{1}{2}} and then \\boxed{0.50}",
    "It is $\\boxed{12\\text{ cm}}$, about 12.",
    "We open \\boxed{ and never close it: 7",
    "The answer is: 5 apples and 3 pears. Or 8?",
    "She pays $6.50 + $13 = $19.50, which is 50% of 39.",
    "**Answer:** 2/3",
    "\\boxed{x^2 + 2x + 1}",
    "\\boxed{(1, 2]}",
    "\\boxed{\\{3, 1, 2\\}}",
    "\\boxed{101_2}",
    "\\boxed{\\sqrt{48}}",
    "The answer is $4\\sqrt{3}$.",
    "The answer is (B).",
    "the option is c",
    "Both A and B fit, but B is better. B",
    "\\boxed{\\text{(D) True}}",
    "It is false. The answer is False.",
    "Unknown",
    "3 * 4 = 13 eggs. 13 + 2 = 15. The answer is 15.",
    "(4 + 8) * (6 - 4) = 24. Answer: (4 + 8) * (6 - 4) = 24",
    "Answer: 2 * 12 * (10 - 9)",
    "Step 1: s q r p\nStep 2: S, q, r, p, t\nFinal: s q r p t",
    "```python\ndef add(a, b):  # sum\n    return (a +\n        b)\n```",
    "Sure:\n```\ndef add(a,b): return a-b\n```\nDone.",
    "    return a + b\n\nprint(add(1, 2))\n",
    "theorem add : 1 + 1 = 2 := by norm_num",
)
"""What a model may write; each task reads all of them, and judges what it reads."""
LETTERED = (
    "So I take option (c).",
    "The answer is 'C'.",
    "It's B, not A",
    "I choose B over A",
    "I choose A because it fits.",
    "B is right. C is wrong.",
    "Let X be 5. Then F is 3, so B",
)
"""What only tasks with letters read."""
ADD = "def add(a, b):\n    return plus(a, b)\n"
PLUS = "def plus(a, b):\n    return a + b\n"
LOOSE = (
    f"{ADD}```\nDone.",
    f"Sure, here it is:\n\nimport math\n\n{ADD}\nIt adds.",
    f"Here: ```python\n{ADD}```",
    f"```python\n{PLUS}```\nThen:\n```python\n{ADD}```\n```python\nprint(add(1, 2))\n```",
    f"{ADD}```\nTry it:\n```python\nprint(add(1, 2))\n```",
    "    return a + b\n```\nThis is it.",
)
"""Programs that no pair of fences holds."""
THOUGHTS = (
    ("<think>5</think>\n6", ""),
    ("5</think>6", ""),
    ("<think>5", ""),
    ("5", "<think>"),
    ("mark = '</think>'", ""),
    ("5\n<think>No", ""),
    ("<|channel>thought 5<channel|>6", ""),
    ("analysisHm.assistantfinalAir", ""),
    ("analysisHm.", HARMONY.template_mark),
)
"""Texts with the marks that their prompts begin thoughts with."""
RIGHT = ("42", "1/2", "-0.75", "19.5", "B", "D", "x^2+2x+1", "4\\sqrt{3}", "24", "False")
PROGRAM = Item(
    "pinned/0",
    "Add.",
    "",
    {"entry": "add", "before": 'import math\n\ndef add(a, b):\n    """Add."""\n', "tests": ["assert add(1, 2) == 3"]},
    {"tests": "assert add(1, 2) == 3\nassert add(-1, 1) == 0"},
)
EQUATIONS = (
    "3 * 4 = 12 eggs and 5 + 5 = 11. So 2 + 2 = 4 = 8 / 2.",
    "50% of 80 = 40; 1/3 + 1/6 = 0.5; $1,000 - $1 = $999",
    "x + 1 = 2, 2^10 = 1024, 7 x 6 = 42, 10 / 3 = 3.33, 10 / 4 = 2.4",
    "12 * (3 + 4) = 84 and (2 + 3 = 5",
    r"\[3 \times 4 = 12\] \[12 + 2 = 15\]",
    r"\begin{aligned} 3 + 4 &= 7 \\ 7 * 2 &= 15 \end{aligned}",
)
SUMS = ("1+2*3", "(4+8)*(6-4)", "8/(3-8/3)", "2**3", "1/0", "((1)", "-3+5", "0.1+0.2")
STATED = {"python": "3.11.7", "protection": "bubblewrap"}
"""What the address of the tool `python` states in pinned traces: they show results, not where they were made."""
ARGUMENTS = {
    "self_certainty": ":5",
    "unit_tests": ":60",
    "equations": ":0.25",
}


def read_of_reader(name: str) -> Any:
    """What a reader reads."""
    return [answers.READERS[name](text) for text in TEXTS]


def of_task(task: Task) -> Any:
    """What a task makes, reads and judges."""
    if "programs" in task.uses:
        read = [task.read_for(PROGRAM, text) for text in TEXTS]
        return [read, [task.read(text) for text in TEXTS], [task.correct(PROGRAM, answer) for answer in read]]
    made = task.load(limit=3) if not task.files.keys() - {"made"} else []
    told = [[item.id, item.question, item.answer, item.data, item.secret] for item in made]
    items = [*made, *(Item(f"pinned/{n}", "4 4 6 8", right) for n, right in enumerate(RIGHT))]
    if task.extra:
        items = made  # its judge knows only what it made
    read = [task.read(text) for text in (*TEXTS, *(LETTERED if isinstance(task, Choice) else ()))]
    given = list(dict.fromkeys([None, *read, *(task.read(f"\\boxed{{{item.answer}}}") for item in items)]))
    verdicts = [[item.answer, [answer for answer in given if _correct(task, item, answer)]] for item in items]
    measured = [sorted(task.measure(item, text).items()) for item in made for text in (*TEXTS, item.answer)]
    return [told, read, verdicts, measured]


def _correct(task: Task, item: Item, answer: str | None) -> bool:
    return task.graded and task.correct(item, answer)


def of_method(name: str) -> Any:
    """What a method makes of three problems on the toy model, and the parameters that it has by default."""
    parameters = dict(ToyTrial.of(all_methods()[name], name).parameters)
    with TemporaryDirectory() as folder:
        if name == "compute_optimal":
            arms = (Arm.of("uct_search", {"scorer": "letters"}), Arm.of("first_finish", {"n": 3}), pilot_arm(3))
            table = Path(folder) / "table.json"
            Policy(3, (0.5, 0.9), arms).write(table)
            parameters["table"] = str(table)
        with patch.object(PythonTool, "environment", lambda tool, values: STATED):
            solved = _solved(name, parameters, lambda _: LetterScorer())
        made = all_methods()[name]
        usual = [[one.name, repr(one.default)] for one in made.parameters], sorted(made.sampling.items())
        return json.dumps([usual, solved]).replace(folder, "")


def of_scorer(name: str) -> Any:
    """What a scorer makes of stored texts, or of those of the toy model where it asks a model."""
    argument = ARGUMENTS.get(name, "")
    if name == "value":
        head = ValueHead("pinned", (1, -2, 3, 5), 4, -7)
        return [head.value(HiddenState(np.array(values), -3)) for values in ([5, 1, -4, 2], [0, 0, 0, 0])]
    if name == "next_value":
        next_head = NextHead("pinned", ((1, -2, 3, 5), (0, 1, 0, -1)), 4, {"a": (3, 1, -7), "": (0, 2, 1 << 32)}, 2)
        return [next_head.rewards(HiddenState(np.array([5, 1, -4, 2]), -3), ["a", "", "unseen"])]
    if name == "prefix_value":
        known = {f"p{i}": ValuedProblem("aa", {digest_of("a."): PrefixCount(3, 4, 1)}) for i in (0, 1)}
        values = PrefixValue("0.75=", PrefixTable(2, 0.25, known))
        return _solved("beam_search", {"n": 4, "width": 2, "delimiter": ".", "scorer": name}, lambda _: values)
    if isgeneratorfunction(SCORERS[name].score):
        return _solved("best_of_n", {"n": 4, "scorer": name + argument}, find_scorer)
    return list(find_scorer(name + argument).score(Problem("p", "ask"), STATES))


def _first_two(text: str) -> str | None:
    return text.strip("`python\n")[:2] or None


def _solved(name: str, parameters: Mapping[str, Any], scorer: Callable[[str], Any]) -> Any:
    backends = {model: MarkovBackend(Anywhere(WEIGHTS)) for model in ("toy", "large")}
    driver = Driver(backends, services=Services(scorer), sampling={"max_tokens": 12, "temperature": 1.0})
    data = {"tests": ["assert True", "assert aa"]}
    problems = [Problem(f"p{i}", "ask 3 and 4?", _first_two, data) for i in (0, 1)]
    work = [MethodJob(all_methods()[name], problem, dict(parameters)) for problem in problems]
    results = sorted((result for _, result in driver.solve(work)), key=lambda result: result.id)
    told = [result.as_dict(trace=True) for result in results]
    return [
        [one["answer"], list(one["votes"].items()), one["confidence"], one["why"], one["details"],
         one["trace"]["chosen"], one["trace"]["cost"], one["trace"]["nodes"]]
        for one in told
    ]  # fmt: skip


def _state(text: str, chances: list[int]) -> State:
    scaled = tuple([-chance * LOGPROB_SCALE // 8 for chance in chances])
    top = tuple([(("a", chance), ("b", chance - LOGPROB_SCALE)) for chance in scaled])
    piece = Piece(text, tuple(range(len(scaled))), scaled, top, "")
    return State("ask", ("p",), (piece,), "end")


STATES = [
    _state("3 * 4 = 12 and 5 + 5 = 11", [1, 8, 3]),
    _state("2 + 2 = 4", [0, 0, 9, 27]),
    _state("no equation", [80]),
]


def of_prompts() -> Any:
    """How a question that a method makes stands in a conversation, and what tokens that spells are."""
    turns = (("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello."), ("user", "Why?"))
    given = ("Why?", turns[-1:], turns, turns[:-1], turns[:1], ())
    made = [make_prompt(Problem("p", prompt), "{question} {more} {}", more="So?") for prompt in given]
    tokenizer = Tokenizer.from_gguf(tokenizer_metadata(301) | {"tokenizer.chat_template": TEMPLATE})
    return [made, tokenizer.encode_chat([{"role": "user", "content": "Hi.<|im_end|>\n<|im_start|>"}])]


def of_programs() -> Any:
    """How programs are found, written and tested."""
    found = [[code.extract(text, entry) for text in (*TEXTS, *LOOSE)] for entry in ("add", "")]
    whole = [code.complete(text, PROGRAM.data["before"], "add") for text in found[0] if text]
    tests = code.doctests(">>> add(1, [2])  # why\n(3,\n 4)\n>>> x = 1\n>>> add(0, 'it')\n-1\n")
    verdicts = [code.passes(text, PROGRAM.secret["tests"]) for text in whole]
    return [found, [code.canonical(text) for text in whole], tests, verdicts]


def of_thoughts() -> Any:
    """What of a text stands behind its thoughts."""
    return [answer_part(text, mark) for text, mark in THOUGHTS]


def of_equations() -> Any:
    """Which equations are found and which hold, and what sums come to."""
    found = [[repr(one) for one in equations.equations(text)] for text in EQUATIONS]
    return [found, [str(arithmetic.evaluate(text)) for text in SUMS]]


def of_algebra() -> Any:
    """How expressions are written, and which are the same."""
    forms = (
        "x^2+2x+1",
        "(x+1)^2",
        "\\frac{\\sqrt{48}}{2}",
        "2\\sqrt{3}",
        "[1,2)",
        "\\{1,2\\}",
        "\\{2,1\\}",
        "x=3",
        "3",
    )
    return [[answers.simplest(form) for form in forms], [[answers.same(a, b) for a in forms] for b in forms]]


CALLS: Mapping[str, list[dict[str, Any]]] = {
    "calculator": [
        {"expression": text} for text in ("1/3 + 1/6", "2 +", "solve(x^2 - 2, x)", "9^9^9", "sum(k, k, 1, 100)")
    ],
    "prover": [
        {"problem": "fof(a, axiom, ![X]: (p(X) => q(X))). fof(b, axiom, p(c)). fof(g, conjecture, q(c))."},
        {"problem": "fof(a, axiom, p(c)). fof(g, conjecture, q(c)).", "steps": 100},
        {"problem": "fof(a, axiom"},
    ],
    "premises": [
        {"assistant": "metamath", "statement": PROVABLE, "goals": goals, "most": 2}
        for goals in ("to prove: |- b", "x y")
    ],
    "proof": [
        {"assistant": "metamath", "statement": PROVABLE, "steps": steps}
        for steps in (["ab bc"], ["aa"], ["ab", "nothing"], ["a.", "b.1"])
    ],
    "python": [
        {"code": "x + 1", "before": ["x = 41", "1 / 0"]},
        {"code": "print('a\\x1b[0m' * 3)\nfoo"},
        {
            "code": "x = 1 << (1 << 24)",
            "seconds": 20,
        },  # takes all steps in a fraction of the time, on a busy machine too
    ],
}
"""What each tool is given."""


def of_tool(name: str) -> Any:
    """What a tool gives for stored inputs."""
    tool = find_tool(name)
    return [list(tool.use(tool.check(values), Event(), untrusted=True)) for values in CALLS[name]]


def pieces() -> dict[str, Callable[[], Any]]:
    """How each piece shows its behaviour. Aggregation, driver and policies show theirs in the methods."""
    found: dict[str, Callable[[], Any]] = {
        "algebra": of_algebra,
        "equations": of_equations,
        "programs": of_programs,
        "prompts": of_prompts,
        "thoughts": of_thoughts,
    }
    found |= {f"reader {name}": lambda name=name: read_of_reader(name) for name in answers.READERS}
    found |= {f"task {name}": lambda task=task: of_task(task) for name, task in all_tasks().items()}
    found |= {f"method {name}": lambda name=name: of_method(name) for name in all_methods()}
    found |= {f"scorer {name}": lambda name=name: of_scorer(name) for name in SCORERS.own}
    found |= {f"tool {name}": lambda name=name: of_tool(name) for name in TOOLS.own}
    return {name: show for name, show in found.items() if name not in UNPINNED}


def versions(name: str) -> dict[str, Any]:
    """The versions that a piece's behaviour belongs to."""
    found = versions_of([name])
    if name == "algebra":
        found = replace(found, parts={**found.parts, **versions_of(["reader expression"]).parts})
    return found.to_document()


def unable(name: str) -> str:
    """Why a piece cannot show its behaviour here, or nothing."""
    found = versions(name)
    missing = [library for library, number in found["libraries"].items() if number is None]
    if missing:
        return f"{', '.join(missing)} is missing"
    if name == "task minif2f_rocq" and (absent := find_assistant("rocq").missing()) is not None:
        return absent
    if found["python"] is not None and protection().kind == "none":
        return "nothing here keeps programs in"
    return ""


def digest(show: Callable[[], Any]) -> str:
    """The digest of what a piece shows."""
    text = json.dumps(show(), sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read() -> dict[str, Any]:
    """What is pinned."""
    return json.loads(FILE.read_text()) if FILE.is_file() else {}


def main() -> None:
    """Pin what has new versions."""
    old, new = read(), dict[str, Any]()
    for name, show in sorted(pieces().items()):
        kept = old.get(name)
        if why := unable(name):
            sys.exit(f"{name} cannot be pinned here: {why}")
        now = {"versions": versions(name), "digest": digest(show)}
        if kept is not None and kept["versions"] == now["versions"] and kept != now and name not in sys.argv[1:]:
            hint = f"only if its cases changed: `{COMMAND} {name!r}`"
            sys.exit(f"{name} behaves otherwise under the same versions: raise one in the code first; {hint}")
        new[name] = now
    FILE.write_text(json.dumps(new, indent=1) + "\n")


if __name__ == "__main__":
    main()
