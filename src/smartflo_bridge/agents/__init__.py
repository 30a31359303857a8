"""Legs to voice agents: the second connection of a call, to a service that listens and speaks.

A service is a *dialect* (`dialect.py`), pure and in a file of its own; `kinds.py` lists them. What every leg shares, from
dialling to the apology when all is lost, is in the other modules, and `leg.py` puts it together for one call.
"""
