"""What the tests of ONNX files share."""

from __future__ import annotations

from tests.support.exported import exported as exported
