"""Train an image classifier: ``python tools/train_image.py RECIPE --out RUN [--set key=value] [--resume]``."""

from facexfer.commands.entry import run_command
from facexfer.commands.train import train

if __name__ == "__main__":
    run_command(train)
