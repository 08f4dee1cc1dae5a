"""The stages that wire codec, slm and eval: run from the checkout's root, never installed."""

from pathlib import Path

# Commands that moved into a room still run under their former names: `python -m recipes.plan`.
__path__.append(str(Path(__file__).with_name("former")))
