"""The page that says where the classes of every data set go in PBC's eight and in the five leukocytes, and why."""

from __future__ import annotations

from collections.abc import Iterable

from cellnet.datasets.public import PublicDataset
from cellnet.errors import LabelError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, LabelSchema, harmonise

TARGETS = {"PBC's eight classes": PBC_LABELS, "the five leukocytes": LEUKOCYTES}
INTRODUCTION = """\
# How labels map

`dataset.harmonise(schema)` maps a set's own classes to those of another schema: `cellnet.PBC_LABELS`, PBC's eight
classes, or `cellnet.LEUKOCYTES`, the five mature white cells. A class without counterpart is *not comparable*: it is
never forced into another, and `dataset.not_comparable(schema)` gives its images, on which a model should abstain.
These tables come from `cellnet.harmonise`, which states its reason for each class.
"""


def taxonomy_page(kinds: Iterable[type[PublicDataset]]) -> str:
    """Markdown with a section a schema; sets that share one share the section.

    Args:
        kinds: Classes of data sets with a fixed schema.
    """
    sets: dict[LabelSchema, list[str]] = {}
    for kind in kinds:
        sets.setdefault(kind.schema, []).append(f"[`{kind.card.name}`]({kind.card.name}.md)")
    return INTRODUCTION + "".join(_section(schema, names) for schema, names in sets.items())


def _section(schema: LabelSchema, names: list[str]) -> str:
    text = f"\n## {', '.join(names)}\n"
    for title, target in TARGETS.items():
        text += f"\n### To {title}\n\n" + _table(schema, target)
    return text


def _table(schema: LabelSchema, target: LabelSchema) -> str:
    try:
        mapping = harmonise(schema, target)
    except LabelError as error:
        return f"Nothing is comparable. {error}\n"
    lines = ["| class | what it is | counterpart | reason |", "| --- | --- | --- | --- |"]
    for cell, index, reason in zip(schema, mapping.indices, mapping.reasons, strict=True):
        counterpart = "*not comparable*" if index is None else f"`{target.names[index]}`"
        lines.append(f"| `{cell.name}` | {cell.description} | {counterpart} | {reason} |")
    return "\n".join(lines) + "\n"
