"""An evaluation whose work is done by somebody else."""

import pytest

from intact._base.errors import ParameterError
from intact.evaluate.plan import plan
from intact.evaluate.results import ItemRecord
from intact.evaluate.run import evaluate
from intact.evaluate.work import Done
from intact.tasks.choose import choose


def failing(plan, units, how):
    """All problems fail, the last one first."""
    for unit in reversed(units):
        item, cost = plan.item(unit), {"tokens": 0}
        error = f"problem {item.id} is too long"
        values = unit.task, 0, item.id, item.answer, None, False, None, None, "failed", error, {}, cost, ()
        yield Done(unit, ItemRecord(*values), "{}")


def test_if_every_problem_fails_the_error_is_the_first_ones():
    planned = plan([choose("gsm_ranges:size=2")], "chain_of_thought")
    first, *_ = (planned.item(unit).id for unit in planned.units())
    with pytest.raises(ParameterError, match=f"every problem failed; the first: problem {first} is too long"):
        evaluate({}, planned, described={"seeds": [0]}, worker=failing)
