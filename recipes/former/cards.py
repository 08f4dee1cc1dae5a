"""`python -m recipes.cards` is `python -m recipes.release.model_cards`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.release.model_cards", run_name="__main__", alter_sys=True)
