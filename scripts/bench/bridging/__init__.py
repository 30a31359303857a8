"""What `scripts/bench/legs` is made of: bridges to an agent, measured side by side with the generator of `speed`."""
