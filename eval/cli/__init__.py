"""The console script `hh-eval`."""
