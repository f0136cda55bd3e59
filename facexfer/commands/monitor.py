"""``facexfer monitor``: is a deployed device still where it was measured?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from facexfer.commands.entry import EXIT_FAILED
from facexfer.commands.outputs import check_outputs


def monitor(
    scores: Annotated[Path, typer.Argument(help="The device's log: a CSV of score, and user, time, accepted.")],
    bundle: Annotated[Path, typer.Option(help="The bundle that the device runs.")],
    far: Annotated[
        float | None, typer.Option(help="The FAR whose threshold the device uses. Default: the bundle's own.")
    ] = None,
    impostor_share: Annotated[
        float, typer.Option(help="The largest share of attempts made by anyone other than the claimed user.")
    ] = 0.01,
    runtime: Annotated[
        str | None, typer.Option(help="The device runs the bundle's file for this runtime, such as openvino:int8.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was found to this file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write report.html and report.json into this folder.")] = None,
) -> None:
    """Compare the scores that a device logged with its bundle; exit status 0 fine, 1 alarm, 2 bad input.

    No picture is needed. The tests account for correlated attempts by the same user.
    """
    from facexfer.deploy.monitor import monitor as look
    from facexfer.deploy.monitor_json import monitored_to_json
    from facexfer.files.atomic import write_text
    from facexfer.reports.monitor_page import write_monitor_page

    check_outputs(json_file, report, [scores, bundle / "model.json"], [bundle])
    found = look(scores, bundle, far, impostor_share, runtime)
    if json_file is not None:
        write_text(json_file, json.dumps(monitored_to_json(found), indent=2, allow_nan=False) + "\n")
    if report is not None:
        write_monitor_page(report, found)
    if (rate := found.accept_rate) is not None:
        typer.echo(
            f"accept rate {100 * rate.observed:.1f} % of {found.attempts:,} attempts, expected "
            f"{100 * rate.expected[0]:.1f} to {100 * rate.expected[1]:.1f} % with at most "
            f"{100 * found.impostor_share:g} % impostors, p = {rate.p_value:.2g}"
        )
    if (shape := found.shape) is not None:
        typer.echo(f"accepted scores at most {100 * shape.distance:.1f} points apart, p = {shape.p_value:.2g}")
    if (trend := found.trend) is not None:
        typer.echo(f"accepted scores change by {trend.observed:+z.3f} over the log, p = {trend.p_value:.2g}")
    for remark in found.remarks:
        typer.echo(f"note: {remark}")
    for reason in found.reasons:
        typer.echo(f"ALARM: {reason}")
    if found.alarm:
        raise typer.Exit(EXIT_FAILED)
    typer.echo("no alarm")
