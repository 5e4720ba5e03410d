"""How much an archive may hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cellnet.errors import ConfigError, DataError


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to; more than any data set, less than a bomb.

    Args:
        max_files: Files and folders.
        max_bytes: Bytes of all files together.
        max_ratio: The same, in multiples of the archive's own size.

    Raises:
        ConfigError: A limit that is not above 0.
    """

    max_files: int = 1_000_000
    max_bytes: int = 2**39
    max_ratio: float = 200.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"{name}={value!r} must be above 0.")

    def bytes_of(self, archive: Path) -> int:
        """Most bytes that this archive may unpack to."""
        return int(min(self.max_bytes, self.max_ratio * archive.stat().st_size))


def too_much(archive: Path, what: str) -> DataError:
    """The error for an archive that holds more than it may."""
    return DataError(
        f"{archive} unpacks to more than {what}, which looks like a bomb; if you trust it, unpack it by hand, or "
        "give wider limits=Limits(...)."
    )
