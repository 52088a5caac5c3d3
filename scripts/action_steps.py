#!/usr/bin/env python3
"""Print the steps of action.yml as one shell script, as a runner performs them: each in a shell of its own.

    scripts/action_steps.py [INPUT=VALUE...] > steps.sh

Steps that use other actions are printed as comments: actions/cache only saves a download. An expression that is
neither an input nor a digest of files is an error, and so is an unknown or missing input.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ACTION = Path(__file__).resolve().parent.parent / "action.yml"
SHELL = "bash --noprofile --norc -eo pipefail -c"
"""How a runner calls a step with `shell: bash`."""
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


def main() -> None:
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    try:
        print(script(yaml.safe_load(ACTION.read_text("utf-8")), given))
    except ValueError as error:
        sys.exit(f"action_steps: {error}")


def script(action: Mapping[str, Any], given: Mapping[str, str]) -> str:
    """Return a shell script of a composite action's steps with the given inputs."""
    inputs = values(action["inputs"], given)
    lines = ["set -e"]
    for step in action["runs"]["steps"]:
        if "uses" in step:
            details = {key: expand(str(value), inputs) for key, value in step.get("with", {}).items()}
            lines.append(f"# {step['uses']}: {details}")
            continue
        if step["shell"] != "bash":
            raise ValueError(f"a step has the shell {step['shell']}, expected bash")
        if "${{" in step["run"]:
            raise ValueError("a step has an expression in its script, where a value could be run; expected it in env")
        settings = [f"{name}={expand(value, inputs)}" for name, value in step.get("env", {}).items()]
        lines.append(f"env {shlex.join(settings)} {SHELL} {shlex.quote(step['run'])}")
    return "\n".join(lines)


def values(declared: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each input."""
    if unknown := set(given) - set(declared):
        raise ValueError(f"unknown input {', '.join(sorted(unknown))}: expected some of {', '.join(declared)}")
    if missing := [name for name, about in declared.items() if about.get("required") and name not in given]:
        raise ValueError(f"the input {', '.join(missing)} is required")
    return {name: given.get(name, about.get("default", "")) for name, about in declared.items()}


def expand(text: str, inputs: Mapping[str, str]) -> str:
    """Replace the expressions in a text."""

    def value(found: re.Match[str]) -> str:
        if found[1].startswith("inputs.") and found[1].removeprefix("inputs.") in inputs:
            return inputs[found[1].removeprefix("inputs.")]
        if re.fullmatch(r"hashFiles\(inputs\.\w+\)", found[1]):
            return "DIGEST"
        raise ValueError(f"unknown expression {found[1]}")

    return _EXPRESSION.sub(value, text)


if __name__ == "__main__":
    main()
