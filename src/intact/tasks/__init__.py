"""Tasks: problems with known answers, their prompts, and the code that extracts and judges answers."""

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
