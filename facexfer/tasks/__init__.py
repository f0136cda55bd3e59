"""The things in which faces and image classification differ."""

from collections.abc import Callable

from facexfer.backbones.parts.info import BackboneInfo
from facexfer.recipe import Recipe
from facexfer.registry import Registry
from facexfer.tasks.face import face_task
from facexfer.tasks.image import image_task
from facexfer.tasks.task import Task

TASKS: Registry[Callable[[Recipe, BackboneInfo], Task]] = Registry("task")
"""Task name -> what makes the task from a recipe; every error in the data is raised there, before training."""
TASKS.add("face", face_task)
TASKS.add("image", image_task)
