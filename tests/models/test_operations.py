"""What every operation answers (`intact.models.aspects.op`)."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest

from intact import _native
from intact.measure.conformance.synthetic import cases
from intact.models import ops
from intact.models.aspects.op import Op
from intact.models.program import Program

KINDS = [kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, Op)]


def names_in(value: Any) -> set[str]:
    """Return all texts in the fields of an operation, and in those of its parts."""
    if is_dataclass(value) and not isinstance(value, type):
        return set().union(*(names_in(getattr(value, field.name)) for field in fields(value)))
    if isinstance(value, tuple):
        return set().union(*map(names_in, value))
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_operation_has_a_name_for_messages_and_a_native_kind(kind: type[Op]) -> None:
    assert kind.noun
    assert _native.Op(kind.native).kind == kind.native


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_but_its_own_fields_enters_a_receipt(kind: type[Op]) -> None:
    assert {field.name for field in fields(kind)} <= set(vars(kind)["__annotations__"])


def test_an_operation_that_leaves_out_a_method_cannot_be_made() -> None:
    @dataclass(frozen=True)
    class Nothing(Op):
        buffer: str

    with pytest.raises(TypeError, match=r"abstract methods .*cut.*labels.*lower.*reads.*step.*work.*writes"):
        Nothing("x")  # type: ignore[abstract]


@pytest.mark.parametrize("program", [case.program for case in cases()], ids=[case.name for case in cases()])
def test_what_is_read_and_written_are_the_buffers_that_fields_name(program: Program) -> None:
    for op in program.ops:
        named = names_in(op) & program.buffers.keys()
        assert op.reads() | op.writes() == named, op
        assert op.sets() == op.writes() - op.reads()


def test_operations_are_found_at_their_former_place_with_a_warning() -> None:
    import intact.models.program as former

    with pytest.warns(FutureWarning, match=r"intact\.models\.program\.Linear has moved to intact\.models\.ops"):
        assert former.Linear is ops.Linear
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = former.Nothing
