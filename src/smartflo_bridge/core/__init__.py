"""The pure half of the bridge: it decides, and does nothing.

The most important things here:

    - Events: what is said on the wire, one frozen struct each. `incoming` is the platform's side, `outgoing` ours.
    - Commands: what a handler asks for (play, place a mark, interrupt, hang up).
    - Signals: everything else that can happen to a call (a tick of the clock, the peer is lost, the handler is done).
    - Effects: what the session wants done (send, deliver, reply, close). Values, carried out by the shell in `calls`.
    - Session: the fold over all of these, `handle(input, now) -> list[Effect]`, and `deadline`, when it wants to be woken.

No module here awaits, reads a clock, logs, opens a file or draws a random number. `now` is always an argument: seconds
since the call's connection was accepted. The same inputs at the same times give the same effects, which is what makes
captures replayable and tests free of sleep.
"""
