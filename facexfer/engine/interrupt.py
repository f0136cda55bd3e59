"""Stopping a run on request: the first Ctrl-C or SIGTERM lets the step end, so that a checkpoint can be saved."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# One press of Ctrl-C comes several times where a launcher passes on what the terminal has sent to all.
_ONE_REQUEST_SECONDS = 1.0
_SAID = b"stopping after this step, with a checkpoint; press Ctrl-C again to stop at once\n"


class StopRequest:
    """Whether the run was asked to stop, as a context.

    Within it Ctrl-C and SIGTERM only set `asked`; repeated after more than a second, they raise KeyboardInterrupt at
    once. Outside of the main thread, where Python gives no signals, nothing changes.

    Args:
        speaks: Whether this process tells the user that the request has come.
    """

    def __init__(self, speaks: bool) -> None:
        self.asked = False
        self._speaks = speaks
        self._asked_at = 0.0
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked and now - self._asked_at > _ONE_REQUEST_SECONDS:
            raise KeyboardInterrupt
        if not self.asked and self._speaks:
            # Not by print, which may be what the signal has interrupted.
            os.write(2, _SAID)
        self.asked, self._asked_at = True, now
