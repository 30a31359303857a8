"""What is to be known of a call before its picture is looked at: some figures, each with what it means, and one sentence.

Text only: the page's head, the still picture's title and the command's own output say the same.
"""

import msgspec

from smartflo_bridge.captures.rules import Culprit
from smartflo_bridge.captures.story import Story
from smartflo_bridge.captures.words import count, length, printable, quantile


class Figure(msgspec.Struct, frozen=True):
    """One figure of the head: its name, its value, and a line that explains it. `is_bad`: something went wrong."""

    name: str
    value: str
    detail: str
    is_bad: bool = False


_ENDINGS = {
    "completed": "the caller hung up",
    "hung_up": "the handler hung up",
    "peer_lost": "the connection was lost",
    "handler_failed": "the handler failed",
    "agent_lost": "the agent was lost",
    "protocol_error": "the platform broke the protocol",
    "limit": "a limit was reached",
    "drained": "the bridge was shut down",
}
_GOOD_ENDINGS = frozenset({"completed", "hung_up"})


def title(story: Story) -> str:
    """Name the call: who called whom, as far as it is known."""
    parties = story.parties
    if parties.from_number or parties.to_number:
        return f"Call from {printable(parties.from_number or 'unknown')} to {printable(parties.to_number or 'unknown')}"
    return f"Call {printable(parties.stream_sid or 'without a stream')}"


def figures(story: Story) -> list[Figure]:
    """Return the head's figures."""
    return [_duration(story), _ending(story), _turns(story), _barge_ins(story), _sending(story), _rules(story)]


def rule_counts(story: Story) -> list[tuple[str, int, float]]:
    """Return each broken rule in words, how often it was broken, and when first."""
    first = {(finding.culprit, finding.rule): finding for finding in reversed(story.findings)}
    return [
        (printable(f"{one.text} ({one.place})", 400), story.broken[rule], one.at_seconds)
        for rule, one in sorted(first.items(), key=lambda item: item[1].at_seconds)
    ]


def _duration(story: Story) -> Figure:
    caller, us = length(story.caller.speech_seconds), length(story.us.speech_seconds)
    return Figure("Duration", length(story.seconds), f"caller spoke {caller}, we {us}")


def _ending(story: Story) -> Figure:
    ending = story.ending
    if not ending.is_told:
        return Figure("Ended", "not told", "the capture stops before the end", is_bad=True)
    termination = ending.termination or ""
    detail = _ENDINGS.get(termination, "for a reason that this version does not know")
    if ending.stop_reason:
        detail = f"{detail}: \N{LEFT DOUBLE QUOTATION MARK}{printable(ending.stop_reason, 60)}\N{RIGHT DOUBLE QUOTATION MARK}"
    is_bad = termination not in _GOOD_ENDINGS
    return Figure("Ended", printable(termination.replace("_", " ")), detail, is_bad)


def _turns(story: Story) -> Figure:
    seconds = [turn.seconds for turn in story.turns]
    if not seconds:
        return Figure("Turns", "none", "the caller said nothing that we answered")
    detail = f"median; 95 % within {length(quantile(seconds, 0.95))}, {count(len(seconds), 'turn')}"
    return Figure("Answer after", length(quantile(seconds, 0.5)), detail)


def _barge_ins(story: Story) -> Figure:
    if not story.barge_ins:
        return Figure("Barge-ins", "none", "nobody was interrupted")
    words = [one.seconds for one in story.barge_ins if one.was_cut and not one.is_key]
    keys = [one.seconds for one in story.barge_ins if one.was_cut and one.is_key]
    talked_on = len(story.barge_ins) - len(words) - len(keys)
    detail = []
    if words:
        detail.append(f"quiet {length(quantile(words, 0.5))} after a word (at most {length(max(words))})")
    if keys:
        detail.append(f"{'' if words else 'quiet '}{length(max(keys))} at most after a key")
    if talked_on:
        detail.append(f"{talked_on} not cut")
    return Figure("Barge-ins", str(len(story.barge_ins)), "; ".join(detail))


def _sending(story: Story) -> Figure:
    gaps = [gap for gap in story.gaps if gap.is_ours]
    starved = len(story.gaps) - len(gaps)
    detail = [f"at most; the lead is {length(story.lead_seconds)}", count(len(gaps), "gap")]
    if starved:
        detail.append(f"{count(starved, 'gap')} of the handler's")
    return Figure("Our audio", f"{length(story.worst_lateness_seconds)} late", "; ".join(detail), is_bad=bool(gaps))


def _rules(story: Story) -> Figure:
    if not story.broken:
        return Figure("Rules broken", "none", "by us or the platform, as far as a capture shows")
    detail = "; ".join(
        f"{name}: {', '.join(rules)}"
        for culprit, name in ((Culprit.US, "by us"), (Culprit.PLATFORM, "by the platform"))
        if (rules := _broken_by(culprit, story))
    )
    return Figure("Rules broken", str(len(story.broken)), detail, is_bad=True)


def _broken_by(culprit: Culprit, story: Story) -> list[str]:
    """Name the rules that one side broke, the most often broken first."""
    return [
        f"{rule.replace('_', ' ')}{f' ({number} times)' if number > 1 else ''}"
        for (by, rule), number in story.broken.most_common()
        if by is culprit
    ]
