"""`python -m recipes.anchors` is `python -m recipes.comparisons.anchors`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("recipes.comparisons.anchors", run_name="__main__", alter_sys=True)
