"""What a log says, as JSON for a job that runs by itself."""

from dataclasses import asdict
from typing import Any

from facexfer.deploy.monitor import Monitored


def monitored_to_json(found: Monitored) -> dict[str, Any]:
    """Write a result in the form that other programs rely on.

    Args:
        found: As `facexfer.deploy.monitor.monitor` gives it.

    Returns:
        ``{"alarm", "reasons", "remarks", "accept_rate", "shape", "trend", "windows", ...}``; a test that was not made
        is null, rates are fractions.
    """
    tests = {name: getattr(found, name) for name in ("accept_rate", "shape", "trend")}
    return {
        "alarm": found.alarm,
        "reasons": list(found.reasons),
        "remarks": list(found.remarks),
        "bundle": str(found.bundle),
        "far": found.far,
        "threshold": found.measured.threshold,
        "impostor_share": found.impostor_share,
        "attempts": found.attempts,
        "users": found.users,
        "accepted": len(found.accepted),
        "undecided": found.undecided,
        **{name: None if test is None else asdict(test) for name, test in tests.items()},
        "windows": [asdict(window) for window in found.windows],
    }
