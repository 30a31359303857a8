"""What a call knows of itself, and what it remembers: ids, parameters, metadata, recent audio, counters, other calls."""

import asyncio

from calls.support import Dialled, silent, speech
from memory_peer import CALL_SID, CALLED, CALLER, SID
from smartflo_bridge.calls.registry import Registry
from virtual_clock import virtual


@virtual
async def test_a_call_knows_who_calls():
    """What `start` says is said once, under plain names."""
    dialled = Dialled(start={"customParameters": '{"account": "42"}', "direction": "outbound"})
    call = await dialled.begun()
    assert (call.stream_sid, call.call_sid, call.account_sid) == (SID, CALL_SID, "AC77")
    assert (call.from_number, call.to_number, call.direction) == (CALLER, CALLED, "outbound")
    assert call.custom_parameters["account"] == "42"
    assert call.termination is None
    assert CALLER not in repr(call)
    assert SID in repr(call)
    await dialled.hung_up_on()
    assert call.termination == "completed"


@virtual
async def test_a_call_may_know_nothing():
    """A `start` with nothing but its stream leaves None, not an error."""
    dialled = Dialled(starts=False)
    dialled.peer.say("start", streamSid=SID)
    call = await dialled.begun()
    known = (call.call_sid, call.account_sid, call.from_number, call.to_number, call.direction)
    assert known == (None,) * 5
    assert call.custom_parameters == {}
    await dialled.hung_up_on()


@virtual
async def test_metadata_is_the_handler_s_own():
    """It keeps what it is given, for this call alone."""
    registry = Registry(10)
    one, two = (Dialled(sid=sid, registry=registry) for sid in ("MZ1", "MZ2"))
    first, second = await one.begun(), await two.begun()
    first.update_metadata(language="hi", tries=1)
    first.update_metadata(tries=2)
    assert first.metadata == {"language": "hi", "tries": 2}
    assert second.metadata == {}
    for dialled in (one, two):
        await dialled.hung_up_on()


@virtual
async def test_sequence_numbers_count_from_one():
    """Each is given once."""
    dialled = Dialled()
    call = await dialled.begun()
    assert [call.next_sequence() for _ in range(3)] == [1, 2, 3]
    await dialled.hung_up_on()


@virtual
async def test_recent_audio_is_bounded():
    """The last second of the caller's audio is remembered, whoever reads the events, and however long they talk."""
    dialled = Dialled(recent_seconds=1.0)
    caller = speech(30.0, "caller")
    await dialled.platform.talk(caller)
    await asyncio.sleep(0.001)
    call = await dialled.begun()
    assert call.recent_audio == caller[-8000:]
    assert len(call._recent) == 8000
    await dialled.hung_up_on()
    assert call.recent_audio == caller[-8000:], "and still there when the call is over"


@virtual
async def test_recent_audio_of_odd_pieces():
    """Pieces of any length are kept whole: never more than the bound, and less by less than a piece."""
    dialled = Dialled(recent_seconds=0.5)
    caller = speech(3.0, "caller")
    await dialled.platform.talk(caller, cadence_bytes=700)
    await asyncio.sleep(0.001)
    recent = (await dialled.begun()).recent_audio
    assert 4000 - 700 < len(recent) <= 4000
    assert caller.endswith(recent)
    await dialled.hung_up_on()


@virtual
async def test_recent_audio_can_be_off():
    """With 0 seconds nothing is remembered."""
    dialled = Dialled(recent_seconds=0.0)
    await dialled.platform.talk(speech(0.5))
    assert (await dialled.begun()).recent_audio == b""
    await dialled.hung_up_on()


@virtual
async def test_counters_can_be_read_while_the_call_lives():
    """The accounts are the session's own, as they stand."""
    dialled = Dialled()
    call = await dialled.begun()
    await dialled.platform.talk(speech(1.0))
    await asyncio.sleep(0.001)
    assert call.counters.received_bytes == 8000
    session = await dialled.hung_up_on()
    assert call.counters is session.ledger


@virtual
async def test_live_calls_can_be_looked_up():
    """A call finds the others by their streams, and finds them no more when they are over."""
    registry = Registry(10)
    one, two = (Dialled(sid=sid, registry=registry) for sid in ("MZ1", "MZ2"))
    first, second = await one.begun(), await two.begun()
    assert first.live_calls.get("MZ2") is second
    assert second.live_calls.get("MZ1") is first
    assert set(first.live_calls.all()) == {first, second}
    assert first.live_calls.get("MZ3") is None
    await two.hung_up_on()
    assert first.live_calls.all() == [first]
    assert first.live_calls.get("MZ2") is None
    await one.hung_up_on()
    assert registry.all() == []


@virtual
async def test_one_call_can_speak_on_another():
    """A look-up gives a call that works: its verbs are those of its own stream."""
    registry = Registry(10)

    async def announce(call):
        await call.live_calls.get("MZ2").play(speech(0.5), encoding="ulaw")

    two = Dialled(sid="MZ2", registry=registry)
    await two.begun()
    one = Dialled(announce, sid="MZ1", registry=registry)
    await one.over()
    await asyncio.sleep(1)
    assert one.peer.audio == b""
    assert two.peer.audio == speech(0.5)
    await two.hung_up_on()


def test_a_registry_counts_and_refuses():
    """As many connections as allowed, and each stream once."""
    registry = Registry(2)
    assert not registry.is_full
    registry.connections = 2
    assert registry.is_full
    registry.connections = 3
    assert registry.is_full


@virtual
async def test_a_hundred_calls_at_once():
    """Each has its own audio, its own accounts, and none is left."""
    registry = Registry(1000)

    async def speak(call):
        await call.play(speech(1.0, call.stream_sid), encoding="ulaw")

    calls = [Dialled(speak, sid=f"MZ{number}", registry=registry) for number in range(100)]
    for dialled in calls:
        await dialled.over()
        assert dialled.platform.heard(0, 1.0) == speech(1.0, dialled.platform.sid)
    assert (len(registry), registry.calls_served) == (0, 100)


@virtual
async def test_iterating_a_call_that_is_over_ends():
    """A second iteration begins where the first one stopped, and after the end there is nothing."""
    kinds = []

    async def read_in_parts(call):
        async for event in call:
            kinds.append(type(event).__name__)
            if len(kinds) == 2:
                break
        await silent(call)
        async for event in call:
            kinds.append(type(event).__name__)

    dialled = Dialled(read_in_parts)
    dialled.platform.press("1", "2", "3")
    await dialled.hung_up_on()
    assert kinds == ["StartEvent", "DTMFEvent"]
