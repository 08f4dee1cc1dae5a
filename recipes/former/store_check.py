"""`python -m recipes.store_check` is `python -m benchmarks.cases.token_store_memory`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("benchmarks.cases.token_store_memory", run_name="__main__", alter_sys=True)
