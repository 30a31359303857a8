"""The soak: the real daemon under steady calls that end in all the ways calls end. `scripts/soak` runs it, `run` is the whole of it."""
