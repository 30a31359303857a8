"""What holds after every step of every call, by a model that sees only what goes in and what comes out.

The model keeps its own platform clock and its own list of what has been spoken. It knows nothing of the session's queue
or horizon, so a mistake there cannot hide in it. Hypothesis writes the calls.
"""

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.support import (
    EXACT_ENOUGH,
    HANG_UP,
    OTHER_SID,
    Platform,
    connected,
    dtmf,
    interrupt,
    mark,
    media,
    place,
    play,
    room,
    speech,
    start,
    stop,
)
from smartflo_bridge.core import incoming, outgoing
from smartflo_bridge.core.commands import AwaitRoom, HangUp, Interrupt, PlaceMark, Play
from smartflo_bridge.core.effects import (
    Close,
    Deliver,
    Effect,
    InterruptOutcome,
    MarkOutcome,
    MarkResult,
    Reply,
    Room,
    Send,
)
from smartflo_bridge.core.incoming import UnknownEvent
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Drained, HandlerDone, Malformed, Opened, PeerLost, Refused, Tick

TAIL = 0.2  # how long a remainder waits for more before silence fills it up

SAID_BY_THE_PLATFORM = [
    connected(),
    start(),
    start(OTHER_SID),
    start(None),
    media(speech(20)),
    media(speech(33), None),
    media(b""),
    media(speech(8), OTHER_SID),
    dtmf(),
    dtmf("#", None),
    dtmf("1", OTHER_SID),
    mark("nobody's"),
    mark("a", OTHER_SID),
    UnknownEvent("transfer"),
    Malformed("bad"),
]
ENDS = [
    stop(),
    *(PeerLost(code) for code in (None, 1000, 1001, 1006, 1011)),
    PeerLost(1009, broke_protocol=True),
    HandlerDone(),
    HandlerDone(failed=True),
    Refused("no"),
    Drained(),
]
MOMENTS = st.sampled_from([0.001, 0.02, 0.05, 0.1, 0.199, 0.2, 0.35, 1.0, 2.5]) | st.floats(0.0001, 0.4)
SIZES = st.sampled_from([0, 1, 159, 160, 161, 800, 1_600, 4_001, 20_000]) | st.integers(0, 2_000)


class Spoken:
    """The audio and marks of one epoch: what was asked for, and how much of it has been sent."""

    def __init__(self) -> None:
        self.audio = bytearray()
        self.taken = 0
        self.sent_bytes = 0
        self.breaks: set[int] = set()  # where a mark or the hang-up ended an utterance
        self.marks: deque[tuple[int, int]] = deque()  # ticket and place of each mark not yet sent
        self.fed = 0.0

    def take(self, payload: bytes, now: float, dry_at: float) -> None:
        """Check that a payload continues what was spoken, and that silence is where an utterance ends."""
        body = payload.rstrip(b"\xff")
        padding = len(payload) - len(body)
        assert body == self.audio[self.taken : self.taken + len(body)], "not what was spoken next"
        self.taken += len(body)
        self.sent_bytes += len(payload)
        assert padding < 160, "a whole frame of silence that nobody asked for"
        waited = self.taken == len(self.audio) and now >= max(self.fed + TAIL, dry_at) - EXACT_ENOUGH
        assert not padding or self.taken in self.breaks or waited, "silence inside an utterance"
        assert not self.marks or self.taken <= self.marks[0][1], "audio has overtaken a mark"


class Model:
    """One call, seen from outside."""

    def __init__(self, limits: SessionSettings) -> None:
        self.settings = limits
        self.platform = Platform()
        self.spoken = Spoken()
        self.sid: str | None = None
        self.epoch = 0
        self.chunks = 0
        self.accepted_bytes = 0
        self.sent_bytes = 0
        self.messages = 0
        self.is_over = self.handler_is_done = self.hangs_up = self.said_goodbye = False
        self.open_tickets: set[int] = set()
        self.sent_marks: dict[str, tuple[int | None, float]] = {}  # ticket, and when to give up
        self.not_echoed: set[str] = set()
        self.echoed: list[str] = []
        self.resolves: int | None = None  # the ticket whose mark the present input echoes
        self.echo_was_early = False

    @property
    def is_streaming(self) -> bool:
        """True from the first start on."""
        return self.sid is not None

    # --- Inputs

    def told(self, given: Input, now: float) -> list[Any]:
        """Note an input, and return the events that the handler is to see of it."""
        self.resolves = None
        if not self.is_over and isinstance(given, incoming.IncomingEvent | Malformed):
            self.messages += 1
        match given:
            case Play(ulaw=ulaw, epoch=epoch):
                self.accepted_bytes += len(ulaw)
                if epoch == self.epoch and not self.hangs_up and not self.is_over:
                    self.spoken.audio += ulaw
                    self.spoken.fed = now if ulaw else self.spoken.fed
            case PlaceMark(ticket=ticket) if not self.hangs_up and not self.is_over:
                self.spoken.breaks.add(len(self.spoken.audio))
                self.spoken.marks.append((ticket, len(self.spoken.audio)))
            case HangUp() | HandlerDone() if not self.is_over:
                self.hangs_up = True
                self.handler_is_done |= isinstance(given, HandlerDone)
                self.spoken.breaks.add(len(self.spoken.audio))
        self.open_tickets |= {given.ticket} if isinstance(given, PlaceMark | AwaitRoom | Interrupt) else set()
        return [] if self.is_over else self._delivered(given, now)

    def _delivered(self, given: Input, now: float) -> list[Any]:
        is_ours = self.is_streaming and getattr(given, "stream_sid", None) in (None, self.sid)
        match given:
            case incoming.StartEvent() if not self.is_streaming and given.sid:
                self.sid = given.sid
                is_ours = True
            case incoming.MediaEvent():
                is_ours &= bool(given.ulaw)
            case incoming.MarkEvent(mark=incoming.Mark(name=name)):
                is_pending = is_ours and name in self.sent_marks
                self._echoed(name, now)
                self.resolves = self.sent_marks.pop(name)[0] if is_pending else None
                is_ours = self.resolves is not None
            case incoming.StopEvent():
                is_ours = self.is_streaming  # one connection is one stream: any stop ends it
            case incoming.DTMFEvent():
                pass
            case _:
                is_ours = False
        return [given] if is_ours and not self.handler_is_done else []

    def _echoed(self, name: str, now: float) -> None:
        self.echo_was_early |= self.platform.ahead(now) > 0
        if name in self.not_echoed:
            self.not_echoed.remove(name)
            self.echoed.append(name)

    # --- Effects

    def did(self, given: Input, effects: list[Effect], now: float) -> None:
        """Check the effects of one input, in their order."""
        ends = any(isinstance(effect, Close) for effect in effects)
        for effect in effects:
            assert not self.is_over or isinstance(effect, Reply), "after the end there are only answers"
            match effect:
                case Send(event=event):
                    self._sent(event, now)
                case Reply(ticket=ticket, outcome=outcome):
                    assert ticket in self.open_tickets, "nobody asked, or it has been answered"
                    self.open_tickets.remove(ticket)
                    self._answered(given, ticket, outcome, now, ends=ends)
        assert [effect for effect in effects if isinstance(effect, Close)] == effects[-1:] * ends, "Close is the last"
        self.is_over |= ends
        assert not self.is_over or not self.open_tickets, "somebody is left waiting"

    def _sent(self, event: outgoing.OutgoingEvent, now: float) -> None:
        assert self.is_streaming or isinstance(event, outgoing.ConnectedEvent)
        assert getattr(event, "stream_sid", self.sid) == self.sid
        dry_at = self.platform.dry_at
        self.platform.take(event, now)
        match event:
            case outgoing.MediaEvent(media=outgoing.Media(payload=payload, chunk=chunk)):
                self.chunks += 1
                self.sent_bytes += len(payload)
                assert chunk == self.chunks
                assert payload
                assert len(payload) % 160 == 0
                assert self.platform.ahead(now) <= self.settings.lead_seconds + EXACT_ENOUGH, "ahead of the lead"
                self.spoken.take(payload, now, dry_at)
            case outgoing.MarkEvent(mark=outgoing.Mark(name=name)):
                ticket, position = self._next_mark()
                assert position == self.spoken.taken, "a mark before its audio"
                assert name not in self.not_echoed, "an echo of this name may still come"
                self.not_echoed.add(name)
                give_up_at = max(self.platform.dry_at, now) + self.settings.mark_slack_seconds
                self.sent_marks[name] = (ticket, give_up_at)
            case outgoing.ClearEvent():
                self.epoch += 1
                self.spoken = Spoken()
            case outgoing.EndEvent():
                assert self.hangs_up
                assert self.platform.ahead(now) <= EXACT_ENOUGH or self.echo_was_early, "hung up before it was heard"
                # The session's own last mark is settled with this, whatever became of it; nobody else is told.
                self.sent_marks = {name: sent for name, sent in self.sent_marks.items() if sent[0] is not None}

    def _next_mark(self) -> tuple[int | None, int]:
        if self.spoken.marks:
            return self.spoken.marks.popleft()
        assert self.hangs_up, "a mark that nobody asked for"
        assert not self.said_goodbye, "one farewell is enough"
        self.said_goodbye = True
        return None, len(self.spoken.audio)

    def _answered(self, given: Input, ticket: int, outcome: object, now: float, *, ends: bool) -> None:
        match outcome:
            case MarkOutcome(name=name, result=result, heard_ms=heard_ms):
                is_sent = self.sent_marks.get(name, (None, 0.0))[0] == ticket
                give_up_at = self.sent_marks.pop(name)[1] if is_sent else float("inf")
                assert 0 <= heard_ms <= max(self.accepted_bytes + 160, self.sent_bytes) // 8
                if result is MarkResult.PLAYED:
                    assert self.resolves == ticket, "played, but not echoed"
                elif result is MarkResult.TIMED_OUT:
                    assert give_up_at <= now + EXACT_ENOUGH, "given up too early"
                else:
                    assert isinstance(given, Interrupt) or ends or self.is_over or self.hangs_up, (
                        "discarded for no reason"
                    )
            case InterruptOutcome(heard_ms=heard_ms):
                assert 0 <= heard_ms <= self.sent_bytes // 8
            case Room():
                pass

    # --- After each step

    def check_deadline(self, deadline: float | None, now: float) -> None:
        """Check that the session wakes in time for all that it owes, and owes nothing now."""
        if self.is_over:
            assert deadline is None
            return
        assert deadline is not None
        assert deadline > now, "something is overdue"
        for _, give_up_at in self.sent_marks.values():
            assert deadline <= give_up_at + self.settings.lead_seconds, "a mark would time out late"
        unsent = len(self.spoken.audio) - self.spoken.taken
        assert not self.spoken.marks or self.spoken.marks[0][1] > self.spoken.taken, "a mark was left behind"
        if unsent >= 160 or (unsent and self.spoken.breaks & {len(self.spoken.audio)}):
            assert deadline <= self.platform.dry_at + EXACT_ENOUGH, "the platform would run dry"
        elif unsent:
            assert deadline <= max(self.platform.dry_at, self.spoken.fed + TAIL) + EXACT_ENOUGH, (
                "a remainder would wait"
            )


class AnyCall(RuleBasedStateMachine):
    """A call of any kind."""

    @initialize(
        way=st.sampled_from(["close", "end"]),
        greets=st.sampled_from(["auto", "always", "never"]),
        lead=st.sampled_from([(0.2, 0.1), (0.2, 0.02), (0.04, 0.02), (0.5, 0.16)]),
        queue=st.sampled_from([60.0, 1.0, 0.2]),
        slack=st.sampled_from([2.0, 0.1]),
        longest=st.sampled_from([14_400.0, 20.0]),
        budget=st.sampled_from([20, 2]),
        starts=st.sampled_from([True, True, True, False]),
        patience=st.integers(0, 40),
    )
    def open(self, *, way, greets, lead, queue, slack, longest, budget, starts, patience) -> None:
        """Accept a connection; mostly, the stream starts at once."""
        self.settings = SessionSettings(
            hang_up=way, send_connected=greets, lead_seconds=lead[0], packet_seconds=lead[1], queue_seconds=queue,
            mark_slack_seconds=slack, max_call_seconds=longest, idle_seconds=min(longest, 60.0), bad_message_budget=budget,
        )  # fmt: skip
        self.session = Session(self.settings)
        self.model = Model(self.settings)
        self.now, self.steps, self.tickets, self.asked_epoch = 0.0, 0, 0, 0
        self.patience = patience
        self.overslept = False
        self.record: list[tuple[Input, float, list[Effect]]] = []
        self.give(Opened())
        if starts:
            self.give(start())

    def give(self, given: Input) -> None:
        """Tell both the session and the model."""
        self.steps += 1
        self.is_broken = True  # until all checks have passed
        delivered = self.model.told(given, self.now)
        effects = self.session.handle(given, self.now)
        self.record.append((given, self.now, effects))
        assert [effect.event for effect in effects if isinstance(effect, Deliver)] == delivered
        self.model.did(given, effects, self.now)
        self.is_broken = False

    def ticket(self) -> int:
        """Return a number that has not been used."""
        self.tickets += 1
        return self.tickets

    # --- What may happen

    @rule(event=st.sampled_from(SAID_BY_THE_PLATFORM))
    def hear(self, event: Input) -> None:
        """The platform says something."""
        self.give(event)

    @rule(size=SIZES, is_stale=st.sampled_from([False, False, False, True]))
    def play(self, size: int, is_stale: bool) -> None:
        """The handler speaks; now and then it has not yet heard of the last interrupt."""
        if self.model.is_streaming and self.room_for(size):
            audio = speech(size, 97 * self.model.epoch + len(self.model.spoken.audio))
            self.give(play(audio, self.asked_epoch - is_stale))

    @rule(sizes=st.lists(SIZES, min_size=1, max_size=3))
    def recite(self, sizes: list[int]) -> None:
        """The handler queues several utterances, with a mark behind each."""
        for size in sizes:
            self.play(size, is_stale=False)
            self.place(None)

    def room_for(self, size: int) -> bool:
        """Return True while no audio would be refused for a full queue, which examples of test_session show."""
        spoken = self.model.spoken
        return (
            len(spoken.audio) - spoken.taken + size + 160 * len(spoken.breaks)
            <= 2 * 8_000 * self.settings.queue_seconds
        )

    @rule(name=st.sampled_from([None, "a", "a.2", "a.3", "a.4", "m3", "goodbye"]))
    def place(self, name: str | None) -> None:
        """The handler places a mark."""
        if self.model.is_streaming:
            self.give(place(self.ticket(), name))

    @rule(interrupts=st.sampled_from([False, False, True]))
    def ask(self, interrupts: bool) -> None:
        """The handler waits for room, or interrupts."""
        if self.model.is_streaming:
            self.asked_epoch += interrupts and not self.model.is_over
            self.give(interrupt(self.ticket()) if interrupts else room(self.ticket()))

    @precondition(lambda self: self.steps > self.patience)
    @rule()
    def hang_up(self) -> None:
        """The handler hangs up."""
        if self.model.is_streaming:
            self.give(HANG_UP)

    @precondition(lambda self: self.steps > self.patience)
    @rule(end=st.sampled_from(ENDS))
    def end(self, end: Input) -> None:
        """The call ends in one of the ways in which calls do."""
        if self.model.is_streaming or not isinstance(end, HandlerDone):
            self.give(end)

    @rule(number=st.integers(0, 5), is_repeated=st.booleans())
    def echo(self, number: int, is_repeated: bool) -> None:
        """The platform echoes one of our marks: in time or early, pending, discarded or given up, or once more."""
        names = self.model.echoed if is_repeated else sorted(self.model.not_echoed)
        if names:
            self.give(mark(names[number % len(names)]))

    @rule()
    def tick_for_nothing(self) -> None:
        """A tick comes before anything is due."""
        self.give(Tick())

    @rule(seconds=MOMENTS)
    def wait(self, seconds: float) -> None:
        """Time passes; the session is woken at each of its deadlines."""
        until = self.now + seconds
        while (due := self.session.deadline) is not None and due <= until:
            self.now = due
            self.give(Tick())
            assert self.session.deadline is None or self.session.deadline > due
        self.now = until

    @rule(seconds=MOMENTS, has_tick=st.booleans())
    def oversleep(self, seconds: float, has_tick: bool) -> None:
        """Time passes, whatever was due; a tick comes late, or something else does."""
        self.now += seconds
        self.overslept |= self.session.deadline is not None and self.session.deadline < self.now
        if has_tick:
            self.give(Tick())

    # --- What must hold

    @invariant()
    def nothing_is_late_or_lost(self) -> None:
        """The next deadline is right, and the accounts are."""
        if not self.overslept_now():
            self.model.check_deadline(self.session.deadline, self.now)
        ledger = self.session.ledger
        assert ledger.received_bytes == ledger.delivered_bytes + ledger.inbound_drops.total()
        assert (ledger.accepted_bytes, ledger.sent_bytes) == (self.model.accepted_bytes, self.model.sent_bytes)
        assert self.model.is_over or ledger.messages_in == self.model.messages
        if self.session.is_over:
            assert ledger.balanced
            assert ledger.marks_placed == ledger.marks.total()
            assert self.overslept or (ledger.gaps, ledger.worst_lateness_seconds) == (0, 0)

    def overslept_now(self) -> bool:
        """Return True if the clock has moved past what was due, and the session has not been told yet: limits wait for a tick."""
        given, told_at, _ = self.record[-1]
        due = self.session.deadline
        is_limit = due is not None and due <= self.now < self.session._outbound.due
        return told_at < self.now or (is_limit and not isinstance(given, Tick))

    def teardown(self) -> None:
        """End the call if it has not ended, and let another session live through it again."""
        if getattr(self, "is_broken", True):
            return
        if not self.session.is_over:
            self.give(PeerLost())
        assert self.session.is_over
        assert self.session.ledger.balanced
        again = Session(self.settings)
        for given, now, effects in self.record:
            assert again.handle(given, now) == effects, "the same inputs gave other effects"


TestAnyCall = AnyCall.TestCase
# Reliability, section 6: 500 examples of 50 steps in CI, where the profile has 200 for simpler tests.
TestAnyCall.settings = settings(stateful_step_count=50, max_examples=settings().max_examples * 5 // 2)
