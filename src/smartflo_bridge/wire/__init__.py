"""The WebSocket as both ends of a call have it: their frames, and the guard over what is read and written.

A caller's connection (`server.connection`) and a leg's (`agents.connection`) are built on it; nobody else uses it.
"""
