"""`--dry-run`: the merged settings, what each stage would do and what is missing; no work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.command_line import DONE, WRONG_CALL
from codec.files import read_json

from .config import Config, plain_settings, settings_yaml
from .inputs import is_done, missing_inputs
from .schema import STAGE_NAMES, TrainCodecConfig, TrainSlmConfig
from .signatures import check_manifest, check_settings, has_work, settings_of, upstream_times
from .stage_list import STAGES, StageError, stage_folder

# What every stage writes beside its own files.
_OF_EVERY_STAGE = ("settings.json", "config.yaml", "metrics.json", "done.json")


def plan_run(config: Config, names: Sequence[str]) -> dict[str, Any]:
    """Find out what a command would do, without writing a byte.

    Args:
        config: The run's settings.
        names: Stages that it runs.

    Returns:
        `run`, the merged `settings`, for each of the `stages` its `status` (done, resume, to do or
        refused), `folder` and the files it `writes`, and `missing`, which says what keeps the
        command from its work.
    """
    ordered = [name for name in STAGE_NAMES if name in names]
    missing = list(missing_inputs(config, ordered))
    stages: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(ordered):
        # A stage before it that is made anew makes this one's results those of another run.
        renewed = [each for each in ordered[:number] if stages[each]["status"] != "done"]
        status, refused = _status(config, name, renewed)
        missing += [refused] if refused else []
        folder = stage_folder(config, name)
        writes = [] if status == "done" else _written(config, name)
        stages[name] = {"status": status, "folder": str(folder), "writes": writes}
    settings = plain_settings(config)
    return {"run": config.run, "settings": settings, "stages": stages, "missing": missing}


def show_plan(config: Config, names: Sequence[str], *, as_json: bool) -> int:
    """Print the plan of a command; returns status 2 where something is missing, else 0."""
    plan = plan_run(config, names)
    if as_json:
        print(json.dumps(plan, ensure_ascii=False))
    else:
        print(_text(config, plan), end="")
    return WRONG_CALL if plan["missing"] else DONE


def _status(config: Config, name: str, renewed: Sequence[str]) -> tuple[str, str]:
    """The status of a stage, and the reason where its folder is refused."""
    folder = stage_folder(config, name)
    if not has_work(folder) and not is_done(config, name):
        return "to do", ""
    settings = settings_of(config, name)
    upstream = STAGES[name].upstream
    if all(is_done(config, each) and each not in renewed for each in upstream):
        settings |= upstream_times(config, name)
    try:
        check_settings(config, name, settings)
        if not is_done(config, name):
            return "resume", ""
        check_manifest(config, folder)
    except StageError as error:
        return "refused", str(error)
    again = [each for each in upstream if each in renewed]
    if again:
        return "refused", (
            f"{name}: {folder} is done, but {again[0]}, which it read, is still to be run: delete "
            f"{folder} and the stages after it, or choose another run=..."
        )
    return "done", ""


def _written(config: Config, name: str) -> list[str]:
    """Files and folders that a stage leaves in its folder."""
    writes = list(STAGES[name].writes)
    if name == "train_codec":
        training = config.train_codec
        for phase in training.phases:
            if training.only is None or phase in training.only:
                writes += [f"{phase}/last.ckpt", f"{phase}/metrics.jsonl"]
                writes += [f"{phase}/{log}" for log in _logs(training)]
        writes += [f"index_{source}.jsonl" for source in training.sources or {}]
    elif name == "train_slm":
        writes += [*_logs(config.train_slm), *(["samples/"] if config.train_slm.samples else [])]
    return [*writes, *_OF_EVERY_STAGE]


def _logs(training: TrainCodecConfig | TrainSlmConfig) -> list[str]:
    """Folders of the logs that a training writes."""
    wanted = {"tensorboard/": training.tensorboard, "wandb/": bool(training.wandb)}
    return [folder for folder, is_wanted in wanted.items() if is_wanted]


def _text(config: Config, plan: dict[str, Any]) -> str:
    """The plan for people."""
    lines = ["# settings", settings_yaml(config).rstrip(), ""]
    lines.append(f"# stages of {config.run}")
    for name, stage in plan["stages"].items():
        lines.append(f"{name:<14} {stage['status']:<8} {_details(config, name, stage)}")
        if stage["writes"]:
            lines.append(f"{'':<14} writes   {', '.join(stage['writes'])}")
    lines += ["", "# missing", *(f"- {each}" for each in plan["missing"])]
    if not plan["missing"]:
        lines[-1] = "# nothing is missing"
    return "\n".join([*lines, "# nothing was started", ""])


def _details(config: Config, name: str, stage: dict[str, Any]) -> str:
    """The folder of a stage, and how long a finished one took."""
    marker = Path(stage["folder"]) / "done.json"
    if stage["status"] != "done" or not marker.is_file():
        return stage["folder"]
    done = read_json(marker, required=("seconds",))
    return f"{stage['folder']}, took {done['seconds']:g} s"
