"""Refuses every connection that would leave this machine, and writes it down.

Python imports a module of this name by itself when it starts: with this folder on PYTHONPATH, the processes that
tests start are watched too. What was asked for goes to the file that FACEXFER_TEST_CONNECTIONS names, since a program
may catch the refusal.
"""

import ipaddress
import os
import socket
import sys
from typing import Any

RECORD = "FACEXFER_TEST_CONNECTIONS"
_HERE = {"", "localhost", "0.0.0.0", "::"}


def is_here(host: str | bytes | None) -> bool:
    """Whether a host, as a name or an address, is this machine."""
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    if name in _HERE or name == socket.gethostname():
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not is_here(host):
        if RECORD in os.environ:
            with open(os.environ[RECORD], "a", encoding="utf-8") as file:
                file.write(f"{event} {host}\n")
        raise OSError(f"a test tried to reach {host}: nothing here may open a connection")


sys.addaudithook(_refuse)
