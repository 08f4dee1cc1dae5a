"""`python -m recipes.plan_check` is `python -m recipes.planning.check_plan`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.planning.check_plan", run_name="__main__", alter_sys=True)
