"""Sleeping until a signal, a socket or the clock has something, with no polling."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, Protocol, TypeVar

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what asks to stop
Pause = Callable[[float], None]  # sleeps so many seconds
Handler = Callable[[int, FrameType | None], Any]


class HasDescriptor(Protocol):
    """What a selector can watch."""

    def fileno(self) -> int:
        """Its file descriptor."""


Watched = TypeVar("Watched", bound=HasDescriptor)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wake-up is the effect."""


class Wakeup:
    """While open, these signals end `wait`; use it in the main thread.

    Args:
        signals: signals that only wake up, such as SIGCHLD.
        handlers: {signal: called when it arrives}.
    """

    def __init__(self, signals: Sequence[int], handlers: dict[int, Handler] | None = None) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._handlers: dict[int, Handler] = {**dict.fromkeys(signals, _ignore), **(handlers or {})}
        self._before: dict[int, Any] = {}
        self._old_descriptor = -1

    def __enter__(self) -> Wakeup:
        self._before = {number: signal.signal(number, handler) for number, handler in self._handlers.items()}
        self._old_descriptor = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the signals back."""
        if self._before:
            signal.set_wakeup_fd(self._old_descriptor)
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before = {}
            self._reader.close()
            self._writer.close()

    def wait(self, others: Sequence[Watched], timeout: float | None = None) -> list[Watched]:
        """Sleep until a signal arrives, one of `others` can be read, or the time is over.

        Returns:
            Those of `others` that can be read.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            for other in others:
                selector.register(other, selectors.EVENT_READ, other)
            ready = [key.data for key, _ in selector.select(timeout)]
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        return [other for other in ready if other is not None]


class StoppedError(Exception):
    """A signal asked to stop.

    Args:
        number: of the signal.

    Attributes:
        status: the exit status that tells so.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.status = 128 + number


@contextlib.contextmanager
def stoppable(sleep: Callable[[float], object] | None = None) -> Iterator[Pause]:
    """While open, a signal that asks to stop ends the pause that is given, or the next one; use it in the main thread.

    A signal ends one pause alone: what is done in order to stop may pause too, until it is asked again.

    Args:
        sleep: waits so many seconds instead of the clock.

    Yields:
        The pause; it raises StoppedError.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    with Wakeup([], dict.fromkeys(STOP_SIGNALS, receive)) as wakeup:

        def pause(seconds: float) -> None:
            if sleep is None:
                wakeup.wait([], seconds)
            else:
                sleep(seconds)
            if received:
                first = received[0]
                received.clear()
                raise StoppedError(first)

        yield pause
