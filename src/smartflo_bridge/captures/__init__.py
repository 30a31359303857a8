"""Captures: what was said on a call and when, kept, read again and played again. The format is in docs/captures.md."""
