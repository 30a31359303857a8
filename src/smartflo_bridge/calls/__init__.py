"""The shell around a session: everything that awaits, reads the clock or crosses a thread for one call.

    - Peer: the far end of the connection, as the actor sees it.
    - Inbox: the one queue through which everything reaches a call.
    - Actor: the coroutine that owns the session, carries out its effects and keeps the outbound order.
    - Delivery: the bounded way from the actor to the handler.
    - Call: the handler's side: an iterator of events, and verbs that become commands in the inbox.
    - Router: decorated functions and middleware, as one handler.
    - Registry: the live calls.
    - Tap: an observer of a call that can change nothing.

The main loop never runs a user's code; inbox and delivery are the only two crossings between it and handlers' threads.
"""
