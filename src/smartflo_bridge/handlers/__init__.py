"""Handlers that come with the bridge, and the look-up of a user's by `module:function`."""
