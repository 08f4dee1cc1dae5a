"""`train_preferences --dry-run`: the settings, what is done and what is missing; no work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codec.command_line import DONE, WRONG_CALL
from codec.error_text import message_of
from codec.files.json_lines import read_json_lines
from recipes.runner.config import plain_settings, settings_yaml
from recipes.runner.inputs import missing_model
from recipes.runner.run_folder import check_kept, has_work
from slm import SpeechRequest
from slm.cli.batch_file import read_requests

from .preference_config import PreferencesConfig
from .verifiers import make_verifiers

PAIRS_NAME = "pairs.jsonl"
# Settings that change no result.
RUNTIME = ("threads", "validate_every", "checkpoint_every")
WRITES = ("config.yaml", "models.json", PAIRS_NAME, "training/", "model/", "metrics.json")


def plan(config: PreferencesConfig) -> dict[str, Any]:
    """Find out what a command would do, without loading a model or writing a byte.

    Args:
        config: Of the run.

    Returns:
        `run`, the merged `settings`, `status` (done, resume, to do or refused), the number of
        `texts` and of those `spoken` already, the files it `writes`, and `missing`, which says
        what keeps the command from its work.
    """
    folder, missing, names = Path(config.run), [], []
    for key, package in (("codec", "codec"), ("lm", "slm")):
        missing += missing_model(key, getattr(config, key), package)
    try:
        requests = read_requests(config.texts, SpeechRequest("", seed=config.seed))
        names = list(requests)
        prompts = {str(each.prompt) for each in requests.values() if each.prompt is not None}
        gone = sorted(path for path in prompts if not Path(path).is_file())
        missing += [f"texts: expected a recording at {path}, found none" for path in gone]
    except (ValueError, OSError) as error:
        missing.append(f"texts: {message_of(error)}")
    try:
        make_verifiers(config.verifiers, config.verifier_words)
    except ValueError as error:
        missing.append(f"verifiers: {error}")
    status = "resume" if has_work(folder) else "to do"
    if (folder / "metrics.json").is_file():
        status = "done"
    try:
        check_kept(config, folder, RUNTIME)
    except ValueError as error:
        status = "refused"
        missing.append(str(error))
    rows = read_json_lines(folder / PAIRS_NAME, torn="drop", missing_ok=True)
    return {
        "run": config.run,
        "settings": plain_settings(config),
        "status": status,
        "texts": len(names),
        "spoken": len({row["id"] for row in rows} & set(names)),
        "writes": list(WRITES),
        "missing": missing,
    }


def show_plan(config: PreferencesConfig, *, as_json: bool) -> int:
    """Print the plan of a command; returns status 2 where something is missing, else 0."""
    found = plan(config)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        lines = ["# settings", settings_yaml(config).rstrip(), ""]
        lines.append(f"# {config.run}: {found['status']}")
        lines.append(f"{found['texts']} texts, {found['spoken']} of them spoken")
        lines.append(f"writes {', '.join(found['writes'])}")
        lines += ["", "# missing", *(f"- {each}" for each in found["missing"])]
        if not found["missing"]:
            lines[-1] = "# nothing is missing"
        print("\n".join([*lines, "# nothing was started"]))
    return WRONG_CALL if found["missing"] else DONE
