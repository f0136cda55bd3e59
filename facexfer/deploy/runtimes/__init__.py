"""The runtimes that a network can be shipped for; each is one file."""

from facexfer.deploy.runtimes.runtime import RUNTIMES, Choice, Example, Original, Runtime, Session, choose_runtime
from facexfer.registry import modules_of

for _module in modules_of(__name__, __path__):
    pass

__all__ = ["RUNTIMES", "Choice", "Example", "Original", "Runtime", "Session", "choose_runtime"]
