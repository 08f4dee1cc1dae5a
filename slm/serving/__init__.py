"""Speech over HTTP: the server of `hh-slm serve`."""
