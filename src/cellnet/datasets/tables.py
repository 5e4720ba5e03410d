"""CSV files that come with a set of images: read whole, with the columns they should have, or refused."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from cellnet.errors import DataError


def read_table(path: Path, columns: Collection[str], key: str) -> list[dict[str, str]]:
    r"""Rows of a CSV file with a header, as dictionaries of text without surrounding blanks.

    Args:
        path: The file, in UTF-8.
        columns: The columns that it has, in any order, and no other.
        key: The column whose values are all different: the name of the image.

    Raises:
        DataError: The file cannot be read, has other columns, no row, a line of another length, or a key
            twice.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "labels.csv"
        ...     _ = file.write_text("image,class\na.png,monocyte\n")
        ...     read_table(file, ("image", "class"), key="image")
        [{'image': 'a.png', 'class': 'monocyte'}]
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = [[cell.strip() for cell in line] for line in csv.reader(file) if line]
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}; check the path.") from error
    except (ValueError, csv.Error) as error:  # ValueError: not text, or no line
        raise DataError(f"{path} is not a CSV table ({error}); download it again.") from error
    if sorted(header) != sorted(columns):
        kinds = {"unknown": set(header) - set(columns), "missing": set(columns) - set(header)}
        words = "; ".join(f"{kind} columns: {', '.join(sorted(names))}" for kind, names in kinds.items() if names)
        raise DataError(f"{path} has {words or 'a column twice'}; it needs {', '.join(columns)}. Download it again.")
    if not lines:
        raise DataError(f"{path} has a header and no further line; download it again.")
    rows = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise DataError(f"Line {number} of {path} has {len(line)} values for {len(header)} columns; correct it.")
        row = dict(zip(header, line, strict=True))
        first = seen.setdefault(row[key], number)
        if first != number:
            raise DataError(f"{row[key]} stands twice in {path}, in lines {first} and {number}; remove one.")
        rows.append(row)
    return rows
