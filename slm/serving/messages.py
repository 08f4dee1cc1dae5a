"""Bodies of requests and errors, in the form of OpenAI's speech API."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from slm.text.languages import language_code

DEFAULT_VOICE = "default"


class VoiceId(BaseModel):
    """A voice as an object."""

    model_config = ConfigDict(extra="forbid")

    id: str


class SpeechBody(BaseModel):
    """Body of `POST /v1/audio/speech`.

    Attributes:
        model: A name that the server gave its language model.
        input: The text.
        voice: Name of a voice; "default" leaves it to the server.
        response_format: Of the audio.
        speed: Times as fast as the model speaks by itself; another than 1 needs a model of aligned
            speech.
        instructions: None or empty; the models take none.
        stream_format: None for speech that is sent when it is whole; "audio" sends bytes while it
            is spoken, "sse" events.
        seed: The same seed gives the same speech.
        language: Of the text; English is written out.
    """

    # A field that is misspelt must not be passed over.
    model_config = ConfigDict(extra="forbid")

    model: str
    input: str
    voice: str | VoiceId = DEFAULT_VOICE
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    # Strict: a speed of "1" in quotes is refused, not read as a number.
    speed: float = Field(default=1.0, strict=True)
    instructions: str | None = None
    stream_format: Literal["audio", "sse"] | None = None
    seed: int = Field(default=0, ge=0, lt=1 << 63, strict=True)
    language: Annotated[str, AfterValidator(language_code)] = "en"


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: Of HTTP.
        message: What was expected and what was got.
        param: Name of the field that is wrong.
        code: For programs.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, headers

    def response(self) -> JSONResponse:
        """Build the answer."""
        error = {
            "message": str(self),
            "type": _TYPES.get(self.status, "invalid_request_error"),
            "param": self.param,
            "code": self.code,
        }
        return JSONResponse({"error": error}, self.status, headers=self.headers)


_TYPES = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error"}
