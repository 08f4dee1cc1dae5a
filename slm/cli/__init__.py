"""The console script `hh-slm`: a module for each command, on `codec.command_line`."""
