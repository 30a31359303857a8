"""Whether a call went as its kind must: what its caller saw, and what the daemon's line about its end says. Pure."""

from dataclasses import dataclass

import msgspec

from soaking.mix import Kind


class Heard(msgspec.Struct, kw_only=True):
    """What one caller saw of a call. Frames are of 20 ms, silent ones included where it does not say otherwise.

    Attributes:
        kind: how it was to end, by its name.
        failure: why there was no call, or no end of it; empty if there were both.
        frames_sent, frames_heard: of audio, whole ones.
        stamped_sent, stamped_heard: the frames of speech that were sent, and those that came back, once and in order.
        lost, repeated: frames of speech that were left out before a later one; that came again, or late.
        foreign_bytes: audio that is neither silence nor this call's speech.
        close_code: with which the daemon closed; None if it did not.
        end_seconds: from what ends the call to the daemon's line about it.
        began_at, ended_at: on the wall clock.
    """

    stream_sid: str
    daemon: str
    kind: str
    failure: str = ""
    frames_sent: int = 0
    frames_heard: int = 0
    stamped_sent: int = 0
    stamped_heard: int = 0
    lost: int = 0
    repeated: int = 0
    foreign_bytes: int = 0
    close_code: int | None = None
    end_seconds: float = 0.0
    began_at: float = 0.0
    ended_at: float = 0.0


@dataclass(frozen=True)
class Ending:
    """What is right for a kind of call.

    Attributes:
        termination: in the daemon's line.
        close_code: that the caller gets; None for none.
        seconds: that the end may take. A busy machine adds to what the daemon promises.
        hears_all: the caller falls silent in time and listens to the end: all speech comes back, and each frame sent is heard.
        takes_all: each frame that was sent is in the daemon's account.
        tail_frames: of speech, that may be under way when the call ends.
        lost_frames: that may be on a connection to an agent when it dies.
        may_hear_others: the daemon's own voice explains what goes on.
        drops: the reasons for which the caller's last audio may be dropped on its way in: it came when all was over.
    """

    termination: str
    close_code: int | None = None
    seconds: float = 5.0
    hears_all: bool = True
    takes_all: bool = True
    tail_frames: int | None = 0
    lost_frames: int = 0
    may_hear_others: bool = False
    drops: frozenset[str] = frozenset({"after_end", "unread"})


UNDER_WAY_FRAMES = 250
"""5 s: the echo's head start and the lead are 0.3, the rest is for a busy machine."""
WITH_AGENT_FRAMES = 100
"""2 s, likewise."""

ENDINGS = {
    Kind.STOP: Ending("completed", 1000),
    Kind.FIN: Ending("peer_lost", hears_all=False, tail_frames=UNDER_WAY_FRAMES),
    Kind.RST: Ending("peer_lost", hears_all=False, takes_all=False, tail_frames=UNDER_WAY_FRAMES),
    Kind.AGENT_BACK: Ending("completed", 1000, lost_frames=WITH_AGENT_FRAMES, may_hear_others=True),
    Kind.AGENT_GONE: Ending(
        "agent_lost",
        1000,
        seconds=20.0,
        takes_all=False,
        tail_frames=None,
        lost_frames=WITH_AGENT_FRAMES,
        may_hear_others=True,
        drops=frozenset({"after_end", "unread", "handler_done"}),
    ),
    Kind.BAD_INPUT: Ending("protocol_error", 1008),
    Kind.STOPPED_READER: Ending("peer_lost", seconds=45.0, hears_all=False, takes_all=False, tail_frames=None),
    Kind.BLACK_HOLE: Ending("peer_lost", seconds=20.0, hears_all=False, takes_all=False, tail_frames=None),
}


def faults_of(heard: Heard, end: dict[str, str] | None) -> list[str]:
    """Return what is wrong with a call; nothing if it went as it must.

    Args:
        heard: what its caller saw.
        end: the pairs of the daemon's line `call ended`; None if there was none.
    """
    if heard.failure:
        return [heard.failure]
    if end is None:
        return ["the daemon has not said how it ended"]
    ending = ENDINGS[Kind[heard.kind]]
    return [*_ending_faults(ending, heard, end), *_speech_faults(ending, heard), *_account_faults(ending, heard, end)]


def _ending_faults(ending: Ending, heard: Heard, end: dict[str, str]) -> list[str]:
    faults = []
    if end["termination"] != ending.termination:
        faults.append(f"termination {end['termination']}, not {ending.termination}")
    if heard.close_code != ending.close_code:
        faults.append(f"close code {heard.close_code}, not {ending.close_code}")
    if heard.end_seconds > ending.seconds:
        faults.append(f"its end took {heard.end_seconds:.1f} s, more than {ending.seconds:g}")
    return faults


def _speech_faults(ending: Ending, heard: Heard) -> list[str]:
    """Return what is wrong with the echo of the caller's speech: it went both ways."""
    faults = []
    if heard.lost > ending.lost_frames:
        faults.append(f"{heard.lost} frames lost, more than {ending.lost_frames}")
    if heard.repeated:
        faults.append(f"{heard.repeated} frames repeated or out of order")
    if heard.foreign_bytes and not ending.may_hear_others:
        faults.append(f"{heard.foreign_bytes} foreign bytes")
    tail = heard.stamped_sent - heard.stamped_heard - heard.lost
    if tail < 0 or (ending.tail_frames is not None and tail > ending.tail_frames):
        faults.append(f"the last {tail} frames did not come back, more than {ending.tail_frames}")
    return faults


def _account_faults(ending: Ending, heard: Heard, end: dict[str, str]) -> list[str]:
    """Return where the daemon's account and the caller's differ, and what was dropped for no good reason."""
    faults = []
    if end.get("balanced") == "no":
        faults.append("the daemon's account does not balance")
    frames_in, frames_out = int(end["frames_in"]), int(end["frames_out"])
    if frames_in > heard.frames_sent or (ending.takes_all and frames_in != heard.frames_sent):
        faults.append(f"{heard.frames_sent} frames sent, {frames_in} in the daemon's account")
    if frames_out < heard.frames_heard or (ending.hears_all and frames_out != heard.frames_heard):
        faults.append(f"{heard.frames_heard} frames heard, {frames_out} in the daemon's account")
    if not ending.drops.issuperset(_reasons(end.get("dropped_in"))):
        faults.append(f"dropped on the way in: {end['dropped_in']}")
    return faults


def _reasons(counts: str | None) -> list[str]:
    """Return the names in a pair such as `after_end:5,unread:1`."""
    return [part.partition(":")[0] for part in (counts or "").split(",") if part]
