"""`python -m recipes.plan` is `python -m recipes.planning.plan`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.planning.plan", run_name="__main__", alter_sys=True)
