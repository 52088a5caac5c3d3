"""Tasks: problems with known answers, their prompts, and how an answer is read and judged."""

from intact.tasks.data import data_folder
from intact.tasks.task import Item, Task, all_tasks, find_task

__all__ = ["Item", "Task", "all_tasks", "data_folder", "find_task"]
