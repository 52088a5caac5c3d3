"""Files of machines: the examples, what is read back, and errors that name the table and the field."""

from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact.measure.planning.machines import Rates, machine_toml, read_machines

EXAMPLES = Path(__file__).parents[3] / "examples" / "machines"
GOOD = (EXAMPLES / "three.toml").read_text()


@pytest.mark.parametrize(("name", "count"), [("three.toml", 3), ("hundred.toml", 100)])
def test_the_examples_are_read(name, count):
    kinds = read_machines(EXAMPLES / name)
    assert sum(kind.count for kind in kinds) == count
    assert len({kind.rates for kind in kinds}) == 3


def test_units_are_seconds_and_bytes():
    first, _, last = read_machines(EXAMPLES / "three.toml")
    assert (first.memory, first.latency, first.bandwidth) == (64 * 10**9, pytest.approx(50e-6), 125e6)
    assert first.rates == pytest.approx(Rates(1 / 400e9, 1 / 60e9, 4e-6, 15e-6, 5e-10, 3e-5, 15e-6, 5e-10, 500e-6))
    assert (last.hours_between_failures, last.restart, last.addresses) == (700, 120, ("10.0.0.3:7000",))


def test_a_measured_table_is_read_back(tmp_path):
    rates = Rates(1 / 123e9, 1 / 45e9, 3.2e-6, 31e-6, 1 / 0.7e9, 42e-6, 21e-6, 1 / 3e9, 480e-6)
    file = tmp_path / "machines.toml"
    file.write_text(
        "[network]\nlatency_us = 50\ngbit_per_s = 1\n\n" + machine_toml("here", 8 * 10**9, rates, "a remark")
    )
    (kind,) = read_machines(file)
    assert (kind.name, kind.count, kind.memory) == ("here", 1, 8 * 10**9)
    assert kind.rates == pytest.approx(rates, rel=0.01)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[network]", "[networks]", "no field named 'networks'.*did you mean network"),
        ("latency_us = 50", "latency_us = -1", r"\[network\]: latency_us must be a number from 0 to 1e\+07, got -1"),
        ("memory_gb = 16\n", "", r"\[\[machines\]\] 2 \(laptop\): memory_gb is missing"),
        ("memory_gb = 16\n", "memory_gb = 'much'\n", r"2 \(laptop\): memory_gb must be a number"),
        ("memory_gb = 16\n", "memory = 16\n", "2: no field named 'memory'"),
        (
            "memory_gb = 16\n",
            "memory_gb = 16\nexchange_gb_per_s = 1\n",
            "is from an earlier version; .* to print new tables",
        ),
        ("gb_per_s = 30\n", "gb_per_s = nan\n", "gb_per_s must be a number"),
        ('name = "laptop"', 'name = "workstation"', "two tables .* are named 'workstation'"),
        ('name = "laptop"', "name = 3", "2: name must be a string"),
        ('name = "laptop"', 'name = "laptop"\ncount = 2', "1 addresses for 2 machines"),
        ('name = "laptop"', 'name = "laptop"\ncount = 2000', "count must be a whole number from 1 to 1,000"),
        ("10.0.0.2:7000", "10.0.0.2", "must be HOST:PORT"),
        ("restart_s = 120\n", "", "hours_between_failures and restart_s must be given together"),
        ("[network]", "[network", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message):
    assert old in GOOD
    file = tmp_path / "machines.toml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ParameterError, match=message):
        read_machines(file)


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"none\.toml"):
        read_machines(tmp_path / "none.toml")
    file = tmp_path / "empty.toml"
    file.write_text("")
    with pytest.raises(ParameterError, match=r"must have a table \[network\]"):
        read_machines(file)
    file.write_text("[network]\nlatency_us = 50\ngbit_per_s = 1\n")
    with pytest.raises(ParameterError, match="must have at least one table"):
        read_machines(file)
