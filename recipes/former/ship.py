"""`python -m recipes.ship` is `python -m recipes.release.export`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.release.export", run_name="__main__", alter_sys=True)
