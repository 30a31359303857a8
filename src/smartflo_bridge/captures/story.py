"""The story of a captured call: the pure model of what its picture shows. `report` and `still` draw it.

Two tracks on one time axis, which begins when the connection was accepted: the caller by the arrival of their audio, us
as the caller hears it. On it speech, turns, barge-ins, keys, marks, clears, gaps, and rules broken. All times in the
lists that hold values of `talk`, `tracks` and `rules` are seconds; those of single messages are the capture's ns.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from smartflo_bridge.captures.format import Header, Record
from smartflo_bridge.captures.marks import MarkStory
from smartflo_bridge.captures.playback import Clear, Gap, Playback, Sending
from smartflo_bridge.captures.rules import Culprit, Finding
from smartflo_bridge.captures.talk import BargeIn, Talk, barge_ins, speech_spans, talks
from smartflo_bridge.captures.tracks import NS_PER_SAMPLE, Piece, Span, Track, pieces_of_arrivals, samples_at, track_of
from smartflo_bridge.captures.transcript import Arrival, Key, Said, Transcript
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.incoming import StartEvent
from smartflo_bridge.core.ledger import Turn


class Parties(msgspec.Struct, frozen=True, kw_only=True):
    """Who was on the line, as the `start` has it; None where it does not say, or never came."""

    stream_sid: str | None = None
    call_sid: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    direction: str | None = None
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How the call ended. `is_told` is False for a capture that was cut: then nothing of it is known.

    Attributes:
        termination: one of `core.effects.Termination`.
        close_code: the platform's; None if it did not close, or died without one.
        stop_reason: the platform's free text; None if no `stop` came.
        ledger: the session's accounts, as the capture has them.
    """

    is_told: bool
    termination: str | None = None
    close_code: int | None = None
    stop_reason: str | None = None
    ledger: dict[str, Any] = msgspec.field(default_factory=dict)


class Voice(msgspec.Struct, frozen=True):
    """One side: its audio, and where in it there is speech."""

    track: Track
    speech: list[Span]

    @property
    def speech_seconds(self) -> float:
        """How much speech there is."""
        return sum(span.seconds for span in self.speech)


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A call. `talks` are our speech as the caller hears it; `unheard` is what they never heard of what was sent.

    `findings` are the first of each broken rule, by time; `broken` counts them all.
    """

    began: str
    software: str
    lead_seconds: float
    seconds: float
    parties: Parties
    ending: Ending
    caller: Voice
    us: Voice
    talks: list[Talk]
    unheard: list[Piece]
    turns: list[Turn]
    barge_ins: list[BargeIn]
    keys: list[Key]
    marks: list[MarkStory]
    clears: list[Clear]
    gaps: list[Gap]
    findings: list[Finding]
    broken: Counter[tuple[Culprit, str]]
    sequence_gaps: int
    arrivals: list[Arrival]
    sendings: list[Sending]
    said: list[Said]

    @property
    def worst_lateness_seconds(self) -> float:
        """How late our latest message was, by its own clock."""
        return max((sending.late_ns for sending in self.sendings), default=0) / 1e9


def tell_story(header: Header, records: Iterable[Record]) -> Story:
    """Read a capture to its end, or to its cut, and return what happened."""
    transcript = Transcript(header, records)
    playback = transcript.playback
    length = -(-transcript.ended_ns // NS_PER_SAMPLE)
    caller = _voice(pieces_of_arrivals([(samples_at(one.at_ns), one.ulaw) for one in transcript.arrivals]), length)
    us = _voice(playback.pieces, length)
    cuts = [clear.at_ns / 1e9 for clear in playback.clears if clear.unheard]
    ours = talks(us.speech, us.track.present, cuts)
    keys = [key.at_ns / 1e9 for key in transcript.keys]
    return Story(
        began=header.began,
        software=header.software,
        lead_seconds=header.settings.lead_seconds,
        seconds=transcript.ended_ns / 1e9,
        parties=_parties(transcript.start),
        ending=_ending(transcript),
        caller=caller,
        us=us,
        talks=ours,
        unheard=playback.unheard,
        turns=transcript.turns.found,
        barge_ins=barge_ins(caller.speech, keys, ours),
        keys=transcript.keys,
        marks=playback.marks.all,
        clears=playback.clears,
        gaps=_gaps(playback, transcript.turns.found),
        findings=sorted((*transcript.platform.findings, *transcript.ours.findings), key=lambda one: one.at_seconds),
        broken=_broken(transcript),
        sequence_gaps=transcript.platform.sequence_gaps,
        arrivals=transcript.arrivals,
        sendings=playback.sendings,
        said=transcript.said,
    )


def _voice(pieces: list[Piece], length: int) -> Voice:
    track = track_of(pieces, length)
    return Voice(track, speech_spans(track.ulaw))


def _gaps(playback: Playback, answers: list[Turn]) -> list[Gap]:
    """Leave out the silences that end with an answer: then it was the caller's turn, and no gap."""
    heard_at = [sending.heard_at for sending in playback.sendings]
    answered_at = [round(turn.answered_at * SAMPLE_RATE_HZ) for turn in answers]
    begins = {heard_at[bisect_right(heard_at, at) - 1] for at in answered_at}
    return [gap for gap in playback.gaps if gap.is_ours or gap.end not in begins]


def _broken(transcript: Transcript) -> Counter[tuple[Culprit, str]]:
    sides = ((Culprit.PLATFORM, transcript.platform.broken), (Culprit.US, transcript.ours.broken))
    return Counter({(culprit, rule): number for culprit, broken in sides for rule, number in broken.items()})


def _parties(start: StartEvent | None) -> Parties:
    if start is None:
        return Parties()
    return Parties(
        stream_sid=start.sid,
        call_sid=start.call_sid,
        from_number=start.from_number,
        to_number=start.to_number,
        direction=start.direction,
        parameters=start.custom_parameters,
    )


def _ending(transcript: Transcript) -> Ending:
    return Ending(
        is_told=transcript.termination is not None,
        termination=transcript.termination,
        close_code=transcript.peer_lost.code if transcript.peer_lost else None,
        stop_reason=transcript.stop_reason,
        ledger=transcript.ledger or {},
    )
