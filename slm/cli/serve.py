"""`hh-slm serve`: speech over HTTP, by the interface of OpenAI's speech API."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from codec.command_line import DONE, Commands, add_command, print_report
from codec.requirements import install_command

from .options import add_models, load_synthesizer, whole_number

KEY_NAME = "HH_SLM_API_KEY"
DESCRIPTION = f"""\
Serve POST /v1/audio/speech as OpenAI's API has it, and GET /v1/models, /v1/voices and /health,
until it is interrupted. Only this machine reaches it unless --host says otherwise. The key that
clients send may stand in the environment as {KEY_NAME} instead of --api-key."""
EXAMPLES = """examples:
  hh-slm serve
  hh-slm serve --lm runs/mine/lm --codec runs/mine/codec --name tts-1 --port 9000
  curl http://127.0.0.1:8000/v1/audio/speech -H 'Content-Type: application/json' \\
      -d '{"model": "hh-mini-slm-v2", "input": "Good morning.", "response_format": "wav"}' -o a.wav
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "serve",
        run,
        summary="speak over HTTP, as OpenAI's speech API",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    add = command.add_argument
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is every one")
    add("--port", type=whole_number(0, 1 << 16), default=8000, help="0 takes one that is free")
    add("--api-key", help=f"that clients have to send (default: {KEY_NAME} of the environment)")
    add("--name", action="append", help="of the model in requests (default: as --lm); again")
    add("--threads", type=whole_number(1), help="of torch (default: its own choice)")
    add("--max-characters", type=whole_number(1), default=4096, help="of a text")
    add("--max-waiting", type=whole_number(0), default=32, help="requests, while one is spoken")
    add("--max-body", type=whole_number(1), default=1 << 17, help="bytes of a request")
    add_models(command)


def run(arguments: argparse.Namespace) -> int:
    """Serve until the process is interrupted.

    Raises:
        ValueError: The call is wrong, a model is missing, or fastapi and uvicorn are.
        OSError: The port is taken.
    """
    key = arguments.api_key if arguments.api_key is not None else os.environ.get(KEY_NAME)
    # In a header there is no room for more.
    if key is not None and not (key and key.isascii() and key.isprintable()):
        raise ValueError("expected a key of ASCII letters, digits and signs, got another or none")
    try:
        from slm.serving.application import Limits, make_application
        from slm.serving.server import is_loopback, listen, make_server, url_of
    except ImportError as error:
        needed = install_command("fastapi", "uvicorn")
        raise ValueError(f"the server needs fastapi and uvicorn ({error}): {needed}") from error
    from slm.model.speech_lm import pretrained_folder
    from slm.serving.speaker import Speaker
    from slm.synthesis.voices import default_voice

    if arguments.threads is not None:
        import torch

        torch.set_num_threads(arguments.threads)
    # A port that is taken shows before the models are loaded.
    with listen(arguments.host, arguments.port) as listener:
        synthesizer = load_synthesizer(arguments)
        speaker = Speaker(synthesizer, default_voice(pretrained_folder(arguments.lm)))
        speaker.warm_up()
        # `.` and `..` have no name of their own.
        names = arguments.name or [Path(arguments.lm).resolve().name]
        limits = Limits(arguments.max_characters, arguments.max_body, arguments.max_waiting)
        server = make_server(make_application(speaker, names, limits, api_key=key))
        if key is None and not is_loopback(arguments.host):
            print("warning: everyone who reaches this host may use it: no key", file=sys.stderr)
        report = {"url": url_of(listener), "model": names[0], "voices": len(speaker.voices)}
        print_report(report, as_json=arguments.json)
        sys.stdout.flush()
        server.run(sockets=[listener])
    return DONE
