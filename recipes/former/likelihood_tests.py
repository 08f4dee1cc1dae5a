"""`python -m recipes.likelihood_tests` is `python -m recipes.comparisons.likelihood_tests`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.comparisons.likelihood_tests", run_name="__main__", alter_sys=True)
