"""All stages in their order; those that are done are skipped, one that was cut off resumes.

python -m recipes.run_all recipes/configs/mini.yaml corpus=../shared/speech run=runs/real
python -m recipes.run_all recipes/configs/mini.yaml stages=encode_corpus,train_slm
"""

from __future__ import annotations

from collections.abc import Sequence

from recipes.runner.cli import make_parser, run_command
from recipes.runner.config import Config
from recipes.runner.stages import STAGES, run_stages


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages that the settings name; returns the exit status."""
    listing = "\n".join(f"  {name:<14} {stage.summary}" for name, stage in STAGES.items())
    parser = make_parser(
        "python -m recipes.run_all",
        "Run the stages of a recipe in order: those done are skipped, one cut off resumes.",
        f"stages:\n{listing}\n\nSome of them only: stages=encode_corpus,train_slm",
        schema=Config,
    )
    return run_command(
        parser,
        argv,
        lambda config: config.stages,
        lambda config: run_stages(config, config.stages),
    )


if __name__ == "__main__":
    raise SystemExit(main())
