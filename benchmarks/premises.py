"""Measure premise retrieval: the share of assertions used in proofs of Metamath's databases that are found.

    python benchmarks/premises.py ql iset --theorems 200

For each selected theorem, at even distances, the assertions before it are ranked by its statement. Recall at k is the
share of the assertions in its proof that are among the first k, averaged over theorems (as in LeanDojo, arXiv
2306.15626); for comparison, it prints the recall of the k assertions just before the theorem. Definitions of syntax do
not count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from intact.tools.prove.assistants import database
from intact.tools.prove.assistants.metamath import describe
from intact.tools.prove.premises import nearest

FOLDER = Path("/usr/share/metamath/databases")
KS = (8, 32, 100)


def measure(name: str, theorems: int) -> None:
    """Print the recall over some theorems of a database."""
    read = database.read((FOLDER / f"{name}.mm").read_text("latin-1"))
    syntax = {one.label for one in read.assertions.values() if one.symbols[0] != "|-"}
    facts = read.assertions.keys() - syntax
    uses = {label: database.labels_used(read.assertions[label]) & facts for label in read.assertions if label in facts}
    proved = [(read.assertions[label], used) for label, used in uses.items() if used]
    taken = proved[:: max(1, len(proved) // theorems)][:theorems]
    found = dict.fromkeys(KS, 0.0)
    latest = dict.fromkeys(KS, 0.0)
    for one, used in taken:
        earlier = [other for other in database.before(read, one) if other.label not in syntax]
        goal = describe(one).partition(" : ")[2]
        ranked = [line.partition(" : ")[0] for line in nearest(list(map(describe, earlier)), goal, max(KS))]
        last = [other.label for other in reversed(earlier)]
        for k in KS:
            found[k] += len(used & set(ranked[:k])) / len(used)
            latest[k] += len(used & set(last[:k])) / len(used)
    count = len(taken)
    print(f"{name}: {count} of {len(proved)} theorems")
    for k in KS:
        print(f"  recall at {k}: {found[k] / count:.1%}, of the latest {k}: {latest[k] / count:.1%}")


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="databases of Debian's metamath-databases, such as ql")
    parser.add_argument("--theorems", type=int, default=200)
    arguments = parser.parse_args()
    for name in arguments.names:
        measure(name, arguments.theorems)


if __name__ == "__main__":
    main()
