"""Photos to crops: ``python tools/prepare_faces.py PHOTOS --layout folders --detector FILE.onnx --out DIR``."""

from facexfer.commands.entry import run_command
from facexfer.commands.prepare import prepare

if __name__ == "__main__":
    run_command(prepare)
