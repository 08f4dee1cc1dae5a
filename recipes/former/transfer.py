"""`python -m recipes.transfer` is `python -m recipes.storage.transfer`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.storage.transfer", run_name="__main__", alter_sys=True)
