"""The person's command, `ars`. Everything that is printed for people is printed here."""

from ars_acp import __version__

__all__ = ["__version__"]
