"""The one place that holds the version; the wheel's metadata is made from it."""

__version__ = "0.1.0"
