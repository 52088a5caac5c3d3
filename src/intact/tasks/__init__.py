"""Problems with known answers: where they lie, how they are asked, how an answer is read and judged."""

from intact.tasks.data import data_folder
from intact.tasks.task import Item, Task, all_tasks, find_task

__all__ = ["Item", "Task", "all_tasks", "data_folder", "find_task"]
