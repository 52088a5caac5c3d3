"""Folders that variables and options name: one of a user whom nobody knows is an error that says so."""

import pytest

from intact._base.errors import ParameterError
from intact.measure import conformance
from intact.tasks.data import data_folder
from intact.tasks.score.rewards import base

NOBODY = "~nobody-of-that-name/data"


@pytest.mark.parametrize("variable", ["INTACT_DATA", "INTACT_MODELS"])
def test_a_variable_that_names_nobody_s_home_is_refused(variable, monkeypatch):
    monkeypatch.setenv(variable, NOBODY)
    with pytest.raises(ParameterError, match=f"{NOBODY}: cannot find the home folder of '~nobody-of-that-name'"):
        data_folder() if variable == "INTACT_DATA" else conformance.default_model()


def test_a_reward_model_in_nobody_s_home_is_refused():
    with pytest.raises(ParameterError, match="cannot find the home folder of '~nobody-of-that-name'"):
        base.open_reward(NOBODY)
