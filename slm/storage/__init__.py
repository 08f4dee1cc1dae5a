"""Folders kept elsewhere: push, pull and local copies of token stores and runs."""
