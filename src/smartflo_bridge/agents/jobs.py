"""What goes on at the same time over one line: its writer, its reader, tools, and at most one that opens another line."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Jobs:
    """The tasks of a leg's line; they end with it.

    Attributes:
        tools: how many are running.
    """

    def __init__(self) -> None:
        self.tools = 0
        self._group: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._succession: asyncio.Task[None] | None = None

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Begin with a line: what is started is one of this group."""
        self._group = group

    def start(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a job."""
        assert self._group is not None
        task = self._group.create_task(job)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def succeed(self, job: Coroutine[Any, Any, None]) -> None:
        """Start the job that has another line take over, in the place of an earlier one: the service has named another time."""
        if self._succession is not None:
            self._succession.cancel()
        self._succession = self.start(job)

    def use_tool(self, job: Coroutine[Any, Any, None]) -> None:
        """Start a job that uses a tool, and count it until it is over."""
        self.tools += 1
        self.start(job).add_done_callback(self._tool_is_over)

    def stop(self) -> None:
        """Cancel all."""
        for task in self._running:
            task.cancel()

    def forget(self) -> None:
        """Hold on to nothing of the line that is over."""
        self._group = self._succession = None

    def _tool_is_over(self, _: asyncio.Task[None]) -> None:
        self.tools -= 1
