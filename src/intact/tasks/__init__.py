"""Tasks: problems with known answers, their prompts, and the code that extracts and judges answers.

Each dataset or family has its own file; `task`, `numeric`, `choice`, `exact`, `programs`, `likelihood`, `generated` and
`declared` are the kinds of tasks, `choose`, `prompting` and `digits` apply options, `data` finds files, `samples`
contains the first problems of four datasets, and `score` judges answers.
"""

from typing import TYPE_CHECKING

from intact._base.lazy import lazy

if TYPE_CHECKING:
    from intact.tasks.data import data_folder
    from intact.tasks.task import Item, Task, all_tasks, find_task

__all__ = ["Item", "Task", "all_tasks", "data_folder", "find_task"]

if not TYPE_CHECKING:
    __getattr__ = lazy(
        __name__,
        {"data_folder": "intact.tasks.data"}
        | dict.fromkeys(("Item", "Task", "all_tasks", "find_task"), "intact.tasks.task"),
    )
