"""The server of an application: a socket, and uvicorn on it."""

from __future__ import annotations

import copy
import ipaddress
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

_GRACE = 5  # seconds that answers have to end in when the server stops


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens; port 0 takes one that is free.

    Raises:
        OSError: The port is taken, or there is no such host here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def url_of(listener: socket.socket) -> str:
    """The address of a socket that listens, for a browser of this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """True if only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_server(app: FastAPI) -> uvicorn.Server:
    """Build the server of an application; `run(sockets=[listen(...)])` serves until it is stopped.

    All of its log goes to stderr.
    """
    log: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    log["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config = uvicorn.Config(
        app,
        log_config=log,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        # An answer is sent while the next is asked for, so few connections are many requests.
        backlog=2048,
    )
    return uvicorn.Server(config)
