"""Taps see everything that happens to a call, once, in order, at the times that the session is given."""

import asyncio

from calls.support import Dialled, RecordingTap, silent, speech
from smartflo_bridge.calls import actor
from smartflo_bridge.core.commands import HangUp, Interrupt, PlaceMark, Play
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.signals import HandlerDone, Opened, PeerLost
from virtual_clock import virtual


async def chatter(call):
    """Do a little of everything."""
    await call.play(speech(0.3), encoding="ulaw")
    call.mark("here")
    await call.digits(1, 5)
    await call.interrupt()
    await call.play(speech(0.1), encoding="ulaw")
    await call.hang_up()


async def a_call_of_chatter(**more):
    """Make such a call; return what was dialled, when it is over."""
    dialled = Dialled(chatter, **more)
    await dialled.platform.talk(speech(0.5, "caller"))
    dialled.peer.push(b"rubbish")
    dialled.platform.press("1")
    await dialled.over()
    return dialled


@virtual
async def test_everything_is_shown_once():
    """Each message both ways, each command and each signal, and the end as the last."""
    dialled = await a_call_of_chatter()
    shown = [item for _, _, item in dialled.tap.shown]
    assert [text for _, kind, text in dialled.tap.shown if kind == "out"] == [sent.text for sent in dialled.peer.sent]
    assert dialled.tap.transcript.count("in media") == 5
    assert dialled.tap.transcript.count("in ?") == 1
    assert sum(len(play.ulaw) for play in dialled.tap.of(Play)) == 3200
    assert len(dialled.tap.of(PlaceMark)) == 2
    assert len(dialled.tap.of(Interrupt)) == 1
    assert dialled.tap.of(HangUp) == [HangUp()]
    assert dialled.tap.of(HandlerDone) == [HandlerDone(failed=False)]
    assert isinstance(shown[0], Opened)
    assert dialled.tap.transcript.count("end") == 1


@virtual
async def test_what_comes_out_follows_what_brought_it_about():
    """A message of ours is shown behind its cause, and the times never go back."""
    dialled = await a_call_of_chatter()
    transcript = dialled.tap.transcript
    assert transcript[transcript.index("do Interrupt") + 1] == "out clear"
    assert transcript[transcript.index("do Play") + 1] == "out media"
    times = [at_ns for at_ns, _, _ in dialled.tap.shown]
    assert times == sorted(times)
    assert times[0] == 0


@virtual
async def test_the_times_are_the_session_s_own(monkeypatch):
    """What a tap is told is, to the bit, what the session was given: so a replay is exact."""
    given = []

    class Watched(Session):
        def handle(self, item, now):
            given.append(now)
            return super().handle(item, now)

    monkeypatch.setattr(actor, "Session", Watched)
    dialled = await a_call_of_chatter()
    assert given == [at_ns / 1e9 for at_ns, kind, _ in dialled.tap.shown if kind in ("in", "do")]


@virtual
async def test_several_taps_see_the_same():
    """Two observers of one call are shown the same things."""
    taps = (RecordingTap(), RecordingTap())
    dialled = Dialled(silent, open_taps=lambda: taps)
    dialled.platform.press("1")
    dialled.platform.stop()
    session = await dialled.task
    assert taps[0].shown == taps[1].shown != []
    assert taps[0].session is taps[1].session is session


@virtual
async def test_a_connection_without_a_call_is_shown_too():
    """A capture of a platform that never says start is what one wants to see."""
    dialled = Dialled(starts=False)
    dialled.peer.say("connected")
    dialled.peer.lose(1000)
    await dialled.over()
    assert dialled.tap.transcript == ["do Opened", "in connected", "do PeerLost", "end"]
    assert dialled.tap.of(PeerLost) == [PeerLost(1000, "")]


@virtual
async def test_the_end_is_shown_when_the_accounts_are_closed():
    """The session that a tap gets at the end has its last numbers: what nobody read is counted as dropped."""

    async def ignore(call):
        await call.hang_up()

    dialled = Dialled(ignore)
    for number in range(5):
        dialled.platform.speak(speech(0.1, number))
    await dialled.over()
    ledger = dialled.tap.session.ledger
    assert ledger.balanced
    assert ledger.delivered_bytes == 0
    assert ledger.inbound_drops == {"unread": 4000}


@virtual
async def test_commands_after_the_end_are_shown():
    """What a handler asks for while the close is under way is part of the record."""

    async def ask_late(call):
        async for _ in call:
            pass
        await asyncio.sleep(0)

    dialled = Dialled(ask_late)
    await dialled.begun()
    dialled.platform.stop()
    await dialled.over()
    assert dialled.tap.transcript[-3:] == ["do HandlerDone", "do PeerLost", "end"] or dialled.tap.transcript[-3:] == [
        "do PeerLost",
        "do HandlerDone",
        "end",
    ]
