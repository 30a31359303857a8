"""The daemon: the one WebSocket listener, who may use it, what it tells of itself, and its life under signals."""

import os

# The library reads these when it is imported, and this comes first. Its own limits would let a stranger make us hold a
# request of 1 MiB; reliability, section 8. Whoever sets them himself is left alone.
for _name, _limit in (("MAX_LINE_LENGTH", 4096), ("MAX_NUM_HEADERS", 64)):
    os.environ.setdefault(f"WEBSOCKETS_{_name}", str(_limit))
