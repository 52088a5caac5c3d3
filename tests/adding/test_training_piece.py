"""A piece of training is one new file, or a class of another package."""

import json

from support.adding import follow, recipe, run_python, write_distribution

USE = """
import json
from intact.train.registry import SCHEDULES
from intact.train.settings import TrainSettings

settings = TrainSettings.from_dict({"schedule": {"name": "halving", "parts": 3}, "steps": 7})
print(json.dumps([[str(settings.schedule.factor(step, 7)) for step in range(1, 8)], SCHEDULES.origin("halving")]))
"""
FACTORS = ["1", "1", "1", "1/2", "1/2", "1/4", "1/4"]


def test_a_piece_of_training_is_one_new_file(tmp_path):
    root = follow("A piece of training", tmp_path / "copy")
    assert json.loads(run_python(USE, root)) == [FACTORS, "intact"]


def test_a_piece_of_training_may_come_with_another_package(tmp_path):
    (text,) = recipe("A piece of training").values()
    pieces = {"halving": "my_halving:Halving"}
    folder = tmp_path / "site"
    write_distribution(folder, "my-schedules", "intact.train.schedules", pieces, {"my_halving": text})
    assert json.loads(run_python(USE, folder)) == [FACTORS, "my-schedules 1.0"]
