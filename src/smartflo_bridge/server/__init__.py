"""The daemon: the one WebSocket listener, who may use it, what it tells of itself, and its life under signals."""
