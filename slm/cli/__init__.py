"""The console script `hh-slm`."""
