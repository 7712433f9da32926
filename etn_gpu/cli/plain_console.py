"""A console of rich that text from outside cannot command."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from etn_gpu.screening.text import harmless

__all__ = ["PlainConsole"]


class PlainConsole(Console):
    """Shows escape sequences and other control characters of what it is given, as text."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that is printed, in tables as well, becomes a Text here, before its width is measured."""
        return super().render_str(harmless(text), **options)
