"""The two simplest handlers, which the benchmarks and the captures of callers build on."""

import asyncio

import pytest

from calls.support import Dialled, speech
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.echo import HEAD_START_SECONDS, echo
from smartflo_bridge.handlers.silence import silence
from virtual_clock import virtual


@pytest.mark.parametrize("cadence_bytes", [160, 800, 1000, 333])
@virtual
async def test_the_caller_hears_themselves(cadence_bytes):
    """All of it, in order, without a gap at the platform's own cadence and at others."""
    caller = speech(5.0, "caller")
    dialled = Dialled(echo)
    await dialled.platform.talk(caller, cadence_bytes=cadence_bytes)
    await asyncio.sleep(1.0)
    assert dialled.platform.heard().strip(b"\xff") == caller
    assert dialled.platform.line.gaps == []
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    assert session.ledger.accepted_bytes == len(caller) + HEAD_START_SECONDS * 8000


@virtual
async def test_the_echo_is_prompt():
    """It comes as soon as it can without a gap: a head start behind the first piece."""
    dialled = Dialled(echo)
    await dialled.platform.talk(speech(1.0, "caller"))
    await asyncio.sleep(0.5)
    at = dialled.platform.heard().index(speech(1.0, "caller")) / 8000
    assert at == pytest.approx(0.1 + HEAD_START_SECONDS, abs=0.001)
    assert HEAD_START_SECONDS <= 0.1
    await dialled.hung_up_on()


@virtual
async def test_the_echo_ends_with_the_call():
    """A caller who hangs up leaves nothing behind."""
    dialled = Dialled(echo)
    dialled.platform.speak(speech(0.1))
    await dialled.hung_up_on()
    assert dialled.handler_ended_at is not None


@virtual
async def test_silence_listens_and_says_nothing():
    """Everything is delivered, nothing is sent."""
    dialled = Dialled(silence)
    await dialled.platform.talk(speech(5.0))
    dialled.platform.press("1")
    session = await dialled.hung_up_on()
    assert dialled.peer.sent == []
    assert session.ledger.delivered_bytes == 40_000
