"""Marks: placed behind their audio, resolved exactly once, whatever the platform echoes or leaves out."""

from math import inf

import pytest

from core.support import HANG_UP, OTHER_SID, interrupt, mark, place, speech, stop, streaming
from smartflo_bridge.core.marks import MAX_REMEMBERED, Marks
from smartflo_bridge.core.outbound import MAX_PENDING_MARKS
from smartflo_bridge.core.playout import QueuedMark


def queued(name: str, ticket: int | None = 1) -> QueuedMark:
    """Return a mark as the playout releases it."""
    return QueuedMark(ticket, name, 0, 800)


# --- The table of the protocol page, section 4


def test_a_mark_is_sent_behind_its_audio_and_played_when_echoed():
    """The mark follows its audio; its echo says that the audio has been heard, and reaches the handler too."""
    call = streaming()
    assert call.play(speech(1_760)) == ["media 1: 160", "media 2: 800"]
    assert call.give(place(7, "hello")) == []
    assert call.run(until=0.22) == ["0.020 media 3: 800", "0.020 mark hello"]
    assert call.give(mark("hello")) == ["reply 7: hello played 220 ms", "deliver mark hello"]
    assert call.run(until=9) == []
    assert call.session.ledger.marks == {"played": 1}


def test_a_mark_with_nothing_queued_is_sent_at_once():
    """There is nothing to wait for, and nothing was heard."""
    call = streaming()
    assert call.give(place(1, "now")) == ["mark now"]
    assert call.give(mark("now")) == ["reply 1: now played 0 ms", "deliver mark now"]


def test_a_mark_right_behind_a_mark():
    """Two marks at one place leave together, in their order."""
    call = streaming()
    call.play(speech(160))
    assert call.give(place(1, "a"), place(2, "b")) == ["mark a", "mark b"]
    assert call.audio_before("b") == speech(160)


def test_a_clear_discards_the_marks_pending():
    """Sent or still queued, marks are discarded by an interrupt; the echoes that follow mean nothing."""
    call = streaming()
    call.play(speech(480))
    assert call.give(place(1, "sent")) == ["mark sent"]
    call.play(speech(8_000))
    call.give(place(2, "queued"))
    call.run(until=0.06)
    assert call.give(interrupt(3))[:2] == ["clear", "reply 1: sent discarded 60 ms"]
    assert call.give(mark("sent")) == []
    assert call.session.ledger.marks == {"discarded": 2}
    assert call.session.ledger.anomalies == {}


def test_a_discarded_mark_tells_what_was_heard_of_it():
    """A mark behind ten seconds of speech, interrupted after three: it was never sent, yet three seconds were heard."""
    call = streaming()
    call.play(speech(80_000))
    call.give(place(1, "end"))
    call.run(until=3)
    assert call.give(interrupt(2)) == [
        "clear",
        "reply 1: end discarded 3000 ms",
        "reply 2: heard 3000 ms, dropped 6880 ms",
    ]


def test_of_discarded_marks_each_tells_of_its_own_audio():
    """What is behind the place of the interrupt was not heard."""
    call = streaming()
    for ticket in (1, 2, 3):
        call.play(speech(8_000))
        call.give(place(ticket, f"n{ticket}"))
    call.run(until=1)
    call.give(mark("n1"))
    call.run(until=1.5)
    assert call.give(interrupt(4))[1:3] == ["reply 2: n2 discarded 500 ms", "reply 3: n3 discarded 0 ms"]


def test_a_mark_whose_call_ends_tells_what_was_heard():
    """The end of a call discards its marks just so."""
    call = streaming()
    call.play(speech(80_000))
    call.give(place(1, "end"))
    call.run(until=3)
    assert call.give(stop()) == ["deliver stop", "reply 1: end discarded 3000 ms", "close completed 1000"]


def test_an_echo_that_never_comes_times_out():
    """A mark is given up when its audio has been played for two seconds, and says so."""
    call = streaming()
    call.play(speech(160))
    call.give(place(1, "lost"))
    assert call.run(until=9) == ["2.020 reply 1: lost timed_out 20 ms"]


def test_a_mark_with_nothing_queued_times_out_from_now():
    """Without audio before it, its two seconds begin when it is sent."""
    call = streaming(mark_slack_seconds=1.5)
    call.run(until=5)
    call.give(place(1, "lost"))
    assert call.run(until=9) == ["6.500 reply 1: lost timed_out 0 ms"]


def test_a_late_echo_means_nothing():
    """The mark has been answered for, once."""
    call = streaming()
    call.give(place(1, "late"))
    call.run(until=3)
    assert call.give(mark("late")) == []
    assert call.session.ledger.marks == {"timed_out": 1}


def test_unknown_and_repeated_echoes_are_counted():
    """A name that we never sent, or one echoed twice, is ignored."""
    call = streaming()
    call.give(place(1, "a"))
    assert call.give(mark("nobody's")) == []
    assert call.give(mark("a")) == ["reply 1: a played 0 ms", "deliver mark a"]
    assert call.give(mark("a")) == []
    assert call.session.ledger.anomalies == {"unknown_mark": 2}


def test_an_echo_before_its_mark_was_sent_is_unknown():
    """Queued is not sent: an echo of it can only be somebody's mistake."""
    call = streaming()
    call.play(speech(8_000))
    call.give(place(1, "early"))
    assert call.give(mark("early")) == []
    assert call.run(until=1.1)[-1] == "0.800 mark early"
    assert call.give(mark("early")) == ["reply 1: early played 1000 ms", "deliver mark early"]


def test_an_echo_on_another_stream_is_not_ours():
    """Its name may even be right."""
    call = streaming()
    call.give(place(1, "a"))
    assert call.give(mark("a", OTHER_SID)) == ["notice foreign_stream"]
    assert call.give(mark("a", None)) == ["reply 1: a played 0 ms", "deliver mark a"]


# --- Names


def names_sent(lines: list[str]) -> list[str]:
    """Return the names of the marks in a transcript."""
    return [line.split()[-1] for line in lines if line.split()[-2] == "mark"]


def test_a_mark_without_a_name_gets_one():
    """Names are made up, short, and told in the answer."""
    call = streaming()
    assert call.give(place(1), place(2, ""), place(3)) == ["mark m1", "mark m2", "mark m3"]
    assert call.give(mark("m2")) == ["reply 2: m2 played 0 ms", "deliver mark m2"]


@pytest.mark.parametrize(
    "wanted", [["a", "a", "a"], ["m2", None, None], ["goodbye", None], ["a", "a.3", "a"], ["a", "a.3", "a.4", "a"]]
)
def test_pending_marks_never_share_a_name(wanted: list[str | None]):
    """A name that is taken is given out with something behind it; every mark is answered for."""
    call = streaming()
    said = call.give(*(place(ticket, name) for ticket, name in enumerate(wanted)))
    said += call.give(HANG_UP)
    assert len(set(names_sent(said))) == len(wanted) + 1
    answers = call.run(until=9)
    assert [answer.split()[2] for answer in answers if "reply" in answer] == [
        f"{ticket}:" for ticket in range(len(wanted))
    ]


def test_the_same_name_may_be_used_again_once_echoed():
    """A loop may call its mark by one name."""
    call = streaming()
    for ticket in (1, 2):
        assert call.give(place(ticket, "again")) == ["mark again"]
        assert call.give(mark("again")) == [f"reply {ticket}: again played 0 ms", "deliver mark again"]


def test_a_discarded_name_is_not_used_until_its_echo_has_come():
    """Else the echo of the discarded mark would pass for the new one's."""
    call = streaming()
    call.give(place(1, "a"), interrupt(2))
    (new,) = names_sent(call.give(place(3, "a")))
    assert new != "a"
    assert call.give(mark("a")) == []
    assert call.give(mark(new)) == [f"reply 3: {new} played 0 ms", f"deliver mark {new}"]
    assert call.give(place(4, "a")) == ["mark a"]


def test_a_timed_out_name_is_not_used_until_its_echo_has_come():
    """Else its late echo would pass for the new mark's: played, before a word of it was heard."""
    call = streaming()
    call.give(place(1, "a"))
    assert call.run(until=3) == ["2.000 reply 1: a timed_out 0 ms"]
    call.play(speech(800))
    (new,) = names_sent(call.give(place(2, "a")))
    assert call.give(mark("a")) == []
    assert call.give(mark(new)) == [f"reply 2: {new} played 100 ms", f"deliver mark {new}"]


# --- Bounds


def test_one_mark_too_many_is_discarded_at_once():
    """256 may be queued or awaiting their echo; one more is answered, not sent, and the call goes on."""
    call = streaming()
    assert MAX_PENDING_MARKS == 256
    call.give(*(place(ticket) for ticket in range(100)))
    call.play(speech(80_000))
    call.give(*(place(ticket) for ticket in range(100, 256)))
    assert call.give(place(256, "over")) == ["reply 256: over discarded 0 ms"]
    assert call.give(mark("m1"), place(257, "fits")) == ["reply 0: m1 played 0 ms", "deliver mark m1"]
    assert call.give(place(258, "over")) == ["reply 258: over discarded 0 ms"]


def test_marks_that_were_never_sent_leave_nothing_behind():
    """Discarded in the queue, they cannot be echoed: their names are free, and so are their places."""
    call = streaming()
    for epoch in range(3):
        call.play(speech(8_000), epoch)
        assert call.give(*(place(ticket, f"n{ticket}") for ticket in range(256))) == []
        said = call.give(interrupt(256))
        assert [text.split()[2] for text in said[1:-1]] == [f"n{ticket}" for ticket in range(256)]


def test_discarded_names_are_remembered_up_to_a_bound():
    """A platform that never echoes them costs no memory."""
    marks = Marks()
    for number in range(MAX_REMEMBERED + 10):
        marks.add(queued(f"n{number}"), 1.0)
        marks.flush()
    assert [f"n{number}" in marks for number in (9, 10, MAX_REMEMBERED + 9)] == [False, True, True]


# --- The collection itself


def test_marks_by_themselves():
    """Added, echoed, flushed or expired: each mark leaves once."""
    marks = Marks()
    assert (len(marks), marks.deadline, marks.expire(9.0), marks.flush()) == (0, inf, [], [])
    for number, name in enumerate("abcd"):
        marks.add(queued(name), float(number))
    assert (len(marks), marks.deadline) == (4, 0.0)
    assert marks.echo("b") == queued("b")
    assert marks.echo("b") is None
    assert [expired.name for expired in marks.expire(0.0)] == ["a"]
    assert marks.deadline == 2.0
    assert [flushed.name for flushed in marks.flush()] == ["c", "d"]
    assert ["a" in marks, "b" in marks, "c" in marks, "d" in marks] == [True, False, True, True]
    assert [marks.forget(name) for name in "abccz"] == [True, False, True, False, False]
    assert ["a" in marks, "c" in marks, "d" in marks, marks.echo("d")] == [False, False, True, None]
    assert (len(marks), marks.deadline) == (0, inf)
