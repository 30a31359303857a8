"""The platform's side of the wire: places calls to any server that speaks the protocol, and hears what the caller hears.

The most important things here:

    - Line: the platform's playout clock of one call. Takes what the bridge sends, says what was heard and when. Pure.
    - Handset: what the caller says and presses, and when. Pure.
    - CallPlan and CallReport: what will happen in a call, and what happened.
    - place_call: carries out a plan over a real connection, and reports.
    - mix: the WAV files before and after.

It shares the core's events with the bridge and nothing else, so that a mistake of the one does not hide in the other.
It is unrealistic where the platform is unpublished: the platform's buffer depth, its jitter buffer, and what it does
with audio that is still buffered when a call ends.
"""
