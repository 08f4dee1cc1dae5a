"""Metrics of recordings, one family a file, and the registry that names them."""
