"""The things in which faces and image classification differ."""

from facexfer.registry import Registry
from facexfer.tasks.face import FACE
from facexfer.tasks.image import IMAGE
from facexfer.tasks.task import TaskKind

TASKS: Registry[TaskKind] = Registry("task", "tasks")
"""Task name -> what makes the task from a recipe, and the keys that it reads."""
TASKS.add("face", FACE)
TASKS.add("image", IMAGE)
