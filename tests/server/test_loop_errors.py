"""Errors that nobody caught, and files that run out: one line in ten seconds, whatever happens meanwhile."""

import asyncio
import errno
import logging
import resource
from pathlib import Path

import pytest

from smartflo_bridge.server import files
from smartflo_bridge.server.loop_errors import MAX_KINDS, LoopErrors
from virtual_clock import virtual

SECRET = "+911234567890"


async def raise_in_callbacks(count: int, error: Exception, seconds: float = 0.0) -> None:
    """Let so many callbacks fail."""

    def fail(_argument: str) -> None:
        raise error

    for _ in range(count):
        asyncio.get_running_loop().call_soon(fail, SECRET)
    await asyncio.sleep(seconds)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines so far."""
    return [record.getMessage() for record in caplog.records]


def test_a_thousand_errors_are_one_line_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Of each kind; what the loop's words quote is in none."""

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(LoopErrors())
        await raise_in_callbacks(1000, ValueError("broken"))
        await raise_in_callbacks(1000, KeyError("other"))

    asyncio.run(main())
    assert len(caplog.records) == 2
    for record, kind in zip(caplog.records, (ValueError, KeyError), strict=True):
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[0] is kind
        assert record.getMessage().startswith('uncaught on the loop what="Exception in callback')
        assert record.getMessage().endswith("so_far=1")
        assert SECRET not in record.getMessage()


def test_it_is_said_again_after_ten_seconds(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how often it came until then."""
    now = [100.0]
    monkeypatch.setattr("smartflo_bridge.server.loop_errors.time.monotonic", lambda: now[0])
    errors = LoopErrors()
    loop = asyncio.new_event_loop()
    for at in (100.0, 105.0, 109.9, 110.0, 111.0):
        now[0] = at
        errors(loop, {"message": "Task exception was never retrieved", "exception": ValueError()})
    loop.close()
    assert [text.rpartition("so_far=")[2] for text in logged(caplog)] == ["1", "4"]


def test_no_file_descriptors_is_a_line_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the loop was doing, and whichever limit it was."""
    errors = LoopErrors()
    loop = asyncio.new_event_loop()
    for number, code in ((1, errno.EMFILE), (2, errno.ENFILE)):
        for _ in range(500):
            errors(
                loop, {"message": f"socket.accept() out of system resource {number}", "exception": OSError(code, "x")}
            )
    loop.close()
    assert logged(caplog) == ["no file descriptors left so_far=1"]
    assert not caplog.records[0].exc_info


def test_kinds_without_end_are_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """An error whose words are other ones each time."""
    errors = LoopErrors()
    loop = asyncio.new_event_loop()
    for number in range(10 * MAX_KINDS):
        errors(loop, {"message": f"error {number}"})
    errors(loop, {})
    loop.close()
    assert len(caplog.records) == MAX_KINDS + 1


@virtual
async def test_files_that_run_out_are_said_once_in_ten_seconds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From nine tenths on; not below, and not without a limit."""
    limits = [101]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limits[0], limits[0]))
    monkeypatch.setattr(files, "FILES", tmp_path)
    for number in range(91):  # one of them would be the folder itself
        (tmp_path / str(number)).touch()
    watching = asyncio.get_running_loop().create_task(files.watch_files())
    await asyncio.sleep(60.0)
    assert logged(caplog) == []
    limits[0] = 100
    await asyncio.sleep(9.0)
    words = "file descriptors run out: new connections are dropped when there are none"
    assert logged(caplog) == [f'"{words}" used=90 allowed=100 so_far=1'.replace('"', "")]
    await asyncio.sleep(3.0)
    assert len(caplog.records) == 2
    limits[0] = resource.RLIM_INFINITY
    await asyncio.sleep(60.0)
    assert len(caplog.records) == 2
    watching.cancel()


@virtual
async def test_files_that_cannot_even_be_counted_are_all_in_use(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To count them takes one. Where there is no such folder, nothing is known, and nothing said."""

    class Crowded:
        def iterdir(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (48, 48))
    monkeypatch.setattr(files, "FILES", Crowded())
    watching = asyncio.get_running_loop().create_task(files.watch_files())
    await asyncio.sleep(3.0)
    assert " used=48 allowed=48 " in logged(caplog)[0]
    monkeypatch.setattr(files, "FILES", Path("/nowhere"))
    await asyncio.sleep(60.0)
    assert len(caplog.records) == 1
    watching.cancel()
