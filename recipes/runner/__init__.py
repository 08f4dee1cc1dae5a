"""Stages, their settings and command line, worker processes."""
