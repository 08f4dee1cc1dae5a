"""`python -m recipes.adapt` is `python -m recipes.comparisons.adapt`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.comparisons.adapt", run_name="__main__", alter_sys=True)
