"""The train command, of which a rank is lost."""

import lost_rank  # noqa: F401

from facexfer.commands.entry import run_command
from facexfer.commands.train import train

run_command(train)
