"""`python -m recipes.ablate` is `python -m recipes.comparisons.ablate`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.comparisons.ablate", run_name="__main__", alter_sys=True)
