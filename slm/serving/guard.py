"""Checks before a request is read: its key, and the size of its body."""

from __future__ import annotations

import hmac

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .messages import ApiError

HEALTH = "/health"  # open to whoever asks


class Guard:
    """An ASGI middleware that lets through requests with the key and a body that is not too large.

    Args:
        app: What it stands before.
        api_key: Expected as `Authorization: Bearer KEY`; None lets everyone in.
        body_bytes: Most bytes of a body.
    """

    def __init__(self, app: ASGIApp, *, api_key: str | None, body_bytes: int) -> None:
        self._app, self._body_bytes = app, body_bytes
        self._expected = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        stated = headers.get(b"content-length", b"0")
        if not self._is_let_in(scope["path"], headers.get(b"authorization", b"")):
            error = ApiError(
                401,
                "expected the server's key as `Authorization: Bearer KEY`, got none or another",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await error.response()(scope, receive, send)
            return
        # Python reads no number of thousands of digits.
        if not stated.isdigit() or len(stated) > 18 or int(stated) > self._body_bytes:
            error = ApiError(413, too_large(self._body_bytes), code="body_too_large")
            await error.response()(scope, receive, send)
            return
        left = self._body_bytes

        # A body that states no length, or a wrong one, is counted as it comes.
        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, too_large(self._body_bytes))
            return message

        await self._app(scope, counted, send)

    def _is_let_in(self, path: str, given: bytes) -> bool:
        if self._expected is None or path == HEALTH:
            return True
        # Takes as long whatever of the key is right.
        return hmac.compare_digest(given, self._expected)


def too_large(body_bytes: int) -> str:
    """The message for a body of more bytes than these."""
    return f"expected a body of at most {body_bytes} bytes, got more"
