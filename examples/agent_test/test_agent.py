"""Tests of the support desk. Half of them sample: with the server of `pytest --intact-lock` that changes nothing."""

from agent import ask

SAMPLED = {"temperature": 0.8, "seed": 1}


def test_an_unpaid_order() -> None:
    calls, answer = ask("Is order B42 paid?")
    assert calls == [("find_order", {"number": "B42"})]
    assert "not paid" in answer


def test_a_price() -> None:
    calls, answer = ask("What do 4 lamps cost?")
    assert [(name, arguments["quantity"]) for name, arguments in calls] == [("price_of", 4)]
    assert "120 euros" in answer


def test_a_greeting_needs_no_tool() -> None:
    calls, answer = ask("Hello, who are you?")
    assert not calls
    assert answer


def test_an_order_under_way_sampled() -> None:
    calls, answer = ask("Is order A17 on its way?", **SAMPLED)
    assert calls == [("find_order", {"number": "A17"})]
    assert "Friday" in answer


def test_an_unknown_order_sampled() -> None:
    calls, answer = ask("Where is order C99?", **SAMPLED)
    assert calls == [("find_order", {"number": "C99"})]
    assert "not" in answer


def test_seeds_give_other_wordings_sampled() -> None:
    (calls, first), (_, second) = ask("Thank you, goodbye!", **SAMPLED), ask("Thank you, goodbye!", 0.8, seed=2)
    assert not calls
    assert first != second
