"""Answers to requests that are refused or fail, in the form of OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from .messages import ApiError, SpeechBody

FAILED = "the server failed to answer; see its log"
# What there is, for who asks elsewhere, such as without the /v1 of the client's base_url.
ROUTES = "POST /v1/audio/speech, GET /v1/models, GET /v1/voices, GET /health"
_NO_ROUTE = (404, 405)


def answer_errors(app: FastAPI) -> None:
    """Have every error answered in the form of `ApiError`."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        message, place = told(error.errors()[0], request.headers.get("content-type", ""))
        return ApiError(400, message, param=place).response()

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)
        message = str(error.detail)
        if error.status_code in _NO_ROUTE:
            message = f"expected one of {ROUTES}; got {request.method} {request.url.path}"
        headers = dict(error.headers or {})
        return ApiError(error.status_code, message, headers=headers).response()

    async def failed(_: Request, error: Exception) -> JSONResponse:
        # uvicorn closes the connection, on which a client would else ask again.
        return ApiError(500, FAILED, headers={"Connection": "close"}).response()

    handlers: dict[type[Exception], Callable[[Request, Exception], Any]] = {
        ApiError: refused,
        RequestValidationError: invalid,
        StarletteHTTPException: http,
        Exception: failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def told(problem: dict[str, Any], content_type: str) -> tuple[str, str | None]:
    """Say what is wrong with a body.

    Args:
        problem: The first of those that pydantic found.
        content_type: Of the request, "" where it states none.

    Returns:
        The message, and the field that it is about, None where it is about the whole body.
    """
    where, kind = problem["loc"], problem["type"]
    # A place is "body", a field, and which of its forms was tried; or where JSON is broken.
    field = where[1] if len(where) > 1 and isinstance(where[1], str) else None
    if field is None:
        got = content_type or "none"
        if "json" not in content_type:
            # curl's -d alone sends a form, which is not read as JSON.
            return f"expected JSON with the header Content-Type: application/json, got {got}", None
        if kind == "json_invalid":
            return f"expected JSON, got text that is none: {problem['ctx']['error']}", None
        return "expected a JSON object as the body, got another value or nothing", None
    if kind == "extra_forbidden" and len(where) == 2:
        known = ", ".join(SpeechBody.model_fields)
        return f"expected fields of: {known}; got {field!r}", field
    # Checks of our own say all themselves.
    return f"{field}: {problem['msg'].removeprefix('Value error, ')}", field
