"""Everything that needs a GPU, by one command, within a stated time: ``python tools/gpu_campaign.py --out DIR``.

Phases, in this order: fast (training steps), big (all pairs), channels (DELTA's weights), true (runs of a grid), and
correct (the GPU tests) alongside true, which is not timed. Each figure is written to ``DIR/campaign.json`` the moment
it is there; started again, the campaign runs only what is missing. ``--device cpu --smoke`` runs all of it tiny.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from campaign import big, channels, correct, fast, true
from campaign.record import Record

from facexfer.runtime import describe_environment, prepare_cpu

PHASES = ("fast", "big", "channels", "correct", "true")
# Of the whole time; what a phase leaves is the later ones'.
_SHARES = {"fast": 0.24, "big": 0.1, "channels": 0.06}
_GRID = Path(__file__).parent / "campaign" / "true.toml"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="gpu_campaign.py", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12, help="for everything together")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="where campaign.json is")
    parser.add_argument("--only", nargs="+", choices=PHASES, default=PHASES, metavar="PHASE", help=", ".join(PHASES))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--smoke", action="store_true", help="everything tiny: a test of the campaign, no figures")
    parser.add_argument("--grid", type=Path, default=_GRID, help="the runs of the phase true")
    parser.add_argument("--side-by-side", type=int, default=6, help="processes of the phase true")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="for every run of the phase true"
    )
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU, found none; --device cpu --smoke tries the campaign without")
    options.out.mkdir(parents=True, exist_ok=True)
    record = Record(options.out / "campaign.json", options.device, options.smoke)
    prepare_cpu()
    record.describe(describe_environment())
    for phase in (each for each in ("fast", "big", "channels") if each in options.only):
        rest = end - time.monotonic()
        record.start(phase, rest if len(options.only) == 1 else min(rest, 60 * options.minutes * _SHARES[phase]))
        {"fast": fast, "big": big, "channels": channels}[phase].run(record)
        if options.device == "cuda":
            torch.cuda.empty_cache()
    last = [each for each in ("correct", "true") if each in options.only]
    record.start(" and ".join(last) or "table", end - time.monotonic())
    tests = correct.Tests(record, record.left) if "correct" in last else None
    if "true" in last:
        true.run(record, options.grid, options.side_by_side, [*_measured_settings(record), *options.set])
    if tests:
        tests.finish()
    _print_table(record)


def _measured_settings(record: Record) -> list[str]:
    """Choose the layout and the augmentation of the runs by what was measured, where it was."""
    settings = ["runtime.augment=device"] if record.has("fast", fast.AUGMENTATION) else []
    layouts = ("float32 nchw", "float32 channels_last")
    names = [f"mobilefacenet / afa / {layout}" for layout in layouts]
    if all(record.has("fast", name) for name in names):
        contiguous, channels_last = (record.figures["fast"][name]["seconds"] for name in names)
        settings.append(f"runtime.channels_last={str(channels_last <= contiguous).lower()}")
    return settings


def _print_table(record: Record) -> None:
    print("== table")
    for name, figure in record.figures.get("correct", {}).items():
        print(f"{name}: {', '.join(f'{key} {figure[key]}' for key in figure if key not in ('log', 'slowest'))}")
    for line in [*fast.ratios(record), *true.table(record)]:
        print(line)
    for phase in ("big", "channels"):
        for name, figure in record.figures.get(phase, {}).items():
            chosen = [
                f"{key} {value:.3g}" for key, value in figure.items() if key in ("x product", "seconds", "faster")
            ]
            print(f"{name}: {', '.join(chosen) or figure.get('error', '')}") if chosen or "error" in figure else None


if __name__ == "__main__":
    main()
