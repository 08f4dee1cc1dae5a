"""Stages and their settings: reading YAML, running, skipping and resuming, the command line."""
