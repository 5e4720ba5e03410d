"""Whether the work fits into memory, asked before it begins."""

from __future__ import annotations

from pathlib import Path

import psutil

from cellnet.balancing.errors import SamplingError

_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, or of its container where that has less."""
    free: int = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        # Pages of files that were read count as used, and are given back when they are needed.
        pages = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return min(free, limit - used + int(pages["inactive_file"]))
    except (OSError, ValueError, KeyError):  # no container, or one without a limit ("max")
        return free


def check_memory(needed: int, what: str, instead: str) -> None:
    """Refuse work that cannot fit.

    Args:
        needed: Estimate in bytes.
        what: The work, as the start of a sentence.
        instead: What to do about it.

    Raises:
        SamplingError: There is less; the message has both figures.
    """
    available = available_memory()
    if needed > available:
        raise SamplingError(
            f"{what} takes about {_in_words(needed)} of memory, and {_in_words(available)} are free; {instead}."
        )


def _in_words(size: int) -> str:
    size = max(size, 0)
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
