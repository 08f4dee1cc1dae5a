"""`python -m recipes.backup` is `python -m recipes.storage.backup`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.storage.backup", run_name="__main__", alter_sys=True)
