"""Train a recipe into a folder."""

from facexfer.engine.loop import train as train
