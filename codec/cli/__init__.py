"""The console script `hh-codec`."""
