"""What the child of `intact.score.symbolic` runs, passed as text: algebra on expressions that nobody vouches for.

One request a line, one reply a line; none, and the process ends, where a request takes too much memory or processor
time: for the latter the kernel ends it.
"""

import json
import resource
import sys
from collections.abc import Callable
from typing import Any


def value(latex: str) -> Any:
    """Parse an expression."""
    found = parse(f"${latex}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
    return found[0] if found and not isinstance(found[0], str) else None


def canonical(latex: str) -> str | None:
    """Return the canonical form, or None."""
    parsed = value(latex)
    if parsed is None:
        return None
    if isinstance(parsed, sympy.Symbol) and str(parsed) != latex:
        return None  # a word
    done = parsed.doit()
    return str(sympy.latex(sympy.expand(done) if isinstance(done, sympy.Expr) else done))


def equal(right: str, given: str) -> bool:
    """Return whether the two mean the same."""
    one, other = value(right), value(given)
    if one is None or other is None:
        return False
    return bool(verify(one, other, timeout_seconds=None))


def serve() -> None:
    """Answer requests until there are none."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work: dict[str, Callable[..., Any]] = {"canonical": canonical, "equal": equal}
    print("ready", flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            reply = work[name](*arguments)
        except MemoryError:
            return  # elsewhere there may be more of it: who asked gives up
        except Exception:
            reply = None
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    import logging

    logging.disable()
    import sympy
    from math_verify import LatexExtractionConfig, parse, verify

    serve()
