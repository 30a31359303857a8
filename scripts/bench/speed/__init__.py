"""The benchmarks of speed: the daemon beside others that do the same work, in one run. `scripts/bench/run` is the command."""
