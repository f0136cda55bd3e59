"""Export to ONNX: ``python tools/export_onnx.py --model RUN --out model.onnx [--backbone NAME]``."""

from facexfer.commands.entry import run_command
from facexfer.commands.export import export

if __name__ == "__main__":
    run_command(export)
