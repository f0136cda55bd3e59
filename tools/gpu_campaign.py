"""Everything that needs a GPU, by one command, within a stated time: ``python tools/gpu_campaign.py --out DIR``.

Phases, one after the other: correct (the GPU tests), fast (training steps), big (all pairs), channels (DELTA's
weights) and true (runs of a grid). Each figure is written to ``DIR/campaign.json`` the moment it is there; started
again with the same options, the campaign runs only what is missing. ``--device cpu --smoke`` runs all of it tiny.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from campaign import big, channels, correct, fast, true
from campaign.record import Record

from facexfer.errors import InputError
from facexfer.runtime import describe_environment, prepare_cpu

_RUNS = {"correct": correct.run, "fast": fast.run, "big": big.run, "channels": channels.run}
# Of the time that is left when a phase starts, next to the shares of the phases that follow it.
_SHARES = {"correct": 0.15, "fast": 0.2, "big": 0.08, "channels": 0.05, "true": 0.52}
PHASES = tuple(_SHARES)
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
    try:
        record = Record(options.out / "campaign.json", options.device, options.smoke)
    except InputError as error:
        parser.error(str(error))
    prepare_cpu()
    record.describe(describe_environment())
    chosen = [phase for phase in PHASES if phase in options.only]
    for place, phase in enumerate(chosen):
        share = _SHARES[phase] / sum(_SHARES[each] for each in chosen[place:])
        record.start(phase, share * (end - time.monotonic()))
        if phase == true.PHASE:
            true.run(record, options.grid, options.side_by_side, [*_measured_settings(record), *options.set])
        else:
            _RUNS[phase](record)
        if options.device == "cuda":
            torch.cuda.empty_cache()
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
        shown = [key for key in figure if key not in ("log", "slowest", "traceback")]
        print(f"{name}: {', '.join(f'{key} {figure[key]}' for key in shown)}")
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
