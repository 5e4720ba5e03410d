"""Class names with their meaning: label schemas, and how one set's labels map to another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from cellnet.errors import LabelError
from cellnet.registry import unknown_name


@dataclass(frozen=True)
class CellClass:
    """One class of cell.

    Args:
        name: Short name, used in columns and folders.
        description: What a cell of this class looks like, in one sentence.
        lineage: The line of blood formation that it belongs to, e.g. ``"granulocyte"``.
        synonyms: Other names of the same class, compared without case, spaces, ``-`` and ``_``.

    Raises:
        LabelError: The synonyms are one text.
    """

    name: str
    description: str = ""
    lineage: str = ""
    synonyms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.synonyms, str):
            raise LabelError(
                f"The synonyms of {self.name!r} are one text, {self.synonyms!r}; give a tuple: ({self.synonyms!r},)."
            )


MATURATION = (
    *("blast", "myeloblast", "promyelocyte", "bilobed promyelocyte", "atypical promyelocyte", "myelocyte"),
    *("metamyelocyte", "immature granulocyte", "band neutrophil", "segmented neutrophil", "neutrophil"),
    *("eosinophil", "basophil"),
    *("monoblast", "promonocyte", "monocyte"),
    *("lymphoblast", "prolymphocyte", "lymphocyte", "large granular lymphocyte", "reactive lymphocyte"),
    *("atypical lymphocyte", "neoplastic lymphocyte", "hairy cell", "plasma cell"),
    *("proerythroblast", "erythroblast", "reticulocyte", "erythrocyte"),
    *("megakaryoblast", "megakaryocyte", "platelet"),
)
"""Cells of blood and marrow: the granulocytic, monocytic, lymphoid, erythroid and megakaryocytic line, each from its
youngest form on, with the atypical forms behind those they resemble."""


def _normal(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " -_")


@dataclass(frozen=True)
class LabelSchema:
    """An ordered set of classes; the position of a class is its integer label.

    It is on every data set, every model and every prediction, so that labels are never confused silently.

    Args:
        name: Name of the schema, e.g. ``"pbc"``.
        classes: The classes in label order.

    Raises:
        LabelError: No class, or a name that stands for two classes.

    Example:
        >>> schema = LabelSchema.from_names(["lymphocyte", "monocyte"])
        >>> len(schema), schema.index("Monocyte"), schema.names
        (2, 1, ('lymphocyte', 'monocyte'))
    """

    name: str
    classes: tuple[CellClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise LabelError(f"The label schema {self.name!r} has no class; give at least one.")
        seen: dict[str, str] = {}
        for cell in self.classes:
            if not _normal(cell.name):
                raise LabelError(f"The label schema {self.name!r} has a class without a name; name each class.")
            for word in {_normal(word) for word in (cell.name, *cell.synonyms)}:
                if word in seen:
                    raise LabelError(
                        f"In the label schema {self.name!r} the name {word!r} stands for two classes, "
                        f"{seen[word]!r} and {cell.name!r}; rename one."
                    )
                seen[word] = cell.name

    @classmethod
    def from_names(cls, names: Iterable[str], name: str = "custom") -> LabelSchema:
        """A schema from bare class names; those of PBC's classes take its spelling, description and synonyms.

        A kind of one of them, such as a band neutrophil, stays a class of its own where it is one of ``names``.

        Example:
            >>> schema = LabelSchema.from_names(["Neutrophil", "Band neutrophil"])
            >>> schema.names, schema.find("segmented neutrophil"), schema.find("band neutrophil")
            (('neutrophil', 'Band neutrophil'), 0, 1)
        """
        given = list(names)
        taken = _KINDS & set(map(_normal, given))
        classes = []
        for word in given:
            cell = _KNOWN.get(_normal(word)) or CellClass(word)
            classes.append(replace(cell, synonyms=tuple(s for s in cell.synonyms if _normal(s) not in taken)))
        return cls(name, tuple(classes))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LabelSchema:
        """The inverse of `to_dict`.

        Raises:
            LabelError: The dictionary has not the form that `to_dict` writes.
        """
        try:
            classes = tuple(
                CellClass(c["name"], c.get("description", ""), c.get("lineage", ""), tuple(c.get("synonyms", ())))
                for c in data["classes"]
            )
            return cls(data["name"], classes)
        except (KeyError, TypeError, AttributeError) as error:
            raise LabelError(f"Not a label schema: {data!r}; it needs 'name' and a list 'classes'.") from error

    def to_dict(self) -> dict[str, Any]:
        """The schema as plain JSON types."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(cell.name for cell in self.classes)

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change with the names or their order, and with nothing else."""
        return hashlib.sha256(json.dumps(self.names).encode()).hexdigest()[:16]

    @property
    def maturation_order(self) -> tuple[int, ...]:
        """All labels, sorted along the lines of `MATURATION`; classes that stand in none come last, in label order.

        A class of several steps, as PBC's immature granulocytes, stands at the first of them.

        Example:
            >>> [PBC_LABELS.names[label] for label in PBC_LABELS.maturation_order][:4]
            ['ig', 'neutrophil', 'eosinophil', 'basophil']
        """
        steps = {_normal(name): step for step, name in enumerate(MATURATION)}

        def first_step(label: int) -> int:
            cell = self.classes[label]
            return min(steps.get(_normal(word), len(steps)) for word in (cell.name, *cell.synonyms))

        return tuple(sorted(range(len(self)), key=first_step))

    def find(self, name: str) -> int | None:
        """Label of the class with this name or synonym, or None."""
        wanted = _normal(name)
        for label, cell in enumerate(self.classes):
            if wanted in {_normal(word) for word in (cell.name, *cell.synonyms)}:
                return label
        return None

    def index(self, name: str) -> int:
        """Label of the class with this name or synonym.

        Raises:
            UnknownNameError: No such class; the message shows the nearest names.
        """
        label = self.find(name)
        if label is None:
            raise unknown_name(f"class of the schema {self.name!r}", name, self.names)
        return label

    def describe(self) -> str:
        """One line a class: label, name, lineage, description."""
        width = max(len(n) for n in self.names)
        return "\n".join(
            f"{label}  {cell.name:<{width}}  {cell.lineage + ': ' if cell.lineage else ''}{cell.description}".rstrip()
            for label, cell in enumerate(self.classes)
        )

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[CellClass]:
        return iter(self.classes)


def as_schema(labels: object) -> LabelSchema:
    """The labels, if they are a schema.

    Raises:
        LabelError: They are something else, such as a list of names.
    """
    if not isinstance(labels, LabelSchema):
        names = labels if isinstance(labels, (list, tuple)) and labels else ["first name", "second name"]
        raise LabelError(f"The labels {labels!r} are no schema; give LabelSchema.from_names({list(names)}).")
    return labels


PBC_LABELS = LabelSchema(
    "pbc",
    (
        CellClass(
            "basophil",
            "Granulocyte whose dark violet granules cover the nucleus.",
            "granulocyte",
            ("ba", "baso", "basophils", "bas"),
        ),
        CellClass(
            "eosinophil",
            "Granulocyte with a bilobed nucleus and coarse orange-red granules.",
            "granulocyte",
            ("eo", "eos", "eosinophils"),
        ),
        CellClass(
            "erythroblast",
            "Nucleated precursor of the red cell: round, dense nucleus.",
            "erythroid",
            ("erb", "ebo", "normoblast", "nrbc", "erythroblasts"),
        ),
        CellClass(
            "ig",
            "Immature granulocyte: promyelocyte, myelocyte or metamyelocyte.",
            "granulocyte",
            ("immature granulocyte", "immature granulocytes", "promyelocyte", "myelocyte", "metamyelocyte"),
        ),
        CellClass(
            "lymphocyte",
            "Small cell, round dense nucleus, narrow rim of blue cytoplasm.",
            "lymphoid",
            ("ly", "lym", "lymph", "lymphocytes"),
        ),
        CellClass(
            "monocyte",
            "Large cell, folded nucleus, grey-blue cytoplasm that may hold vacuoles.",
            "monocytic",
            ("mo", "mon", "mono", "monocytes"),
        ),
        CellClass(
            "neutrophil",
            "Granulocyte with a segmented or band-shaped nucleus and fine pale granules.",
            "granulocyte",
            ("ne", "neu", "neut", "neutrophils", "segmented neutrophil", "band neutrophil"),
        ),
        CellClass(
            "platelet",
            "Fragment of a megakaryocyte without nucleus, much smaller than a white cell.",
            "megakaryocytic",
            ("plt", "platelets", "thrombocyte", "thrombocytes"),
        ),
    ),
)
"""PBC's eight classes in alphabetical folder order, which is also BloodMNIST's order: the default schema."""

_KNOWN = {_normal(cell.name): cell for cell in PBC_LABELS}
_KINDS = {"promyelocyte", "myelocyte", "metamyelocyte", "segmentedneutrophil", "bandneutrophil"}
"""Synonyms of `PBC_LABELS` that are kinds of the class, and not other words for all of it."""

LEUKOCYTES = LabelSchema(
    "leukocytes",
    tuple(_KNOWN[name] for name in ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")),
)
"""The five mature white cells of a differential count, in alphabetical order: what most public sets hold."""


@dataclass(frozen=True)
class LabelMapping:
    """Where each class of one schema goes in another, and why.

    Args:
        source: Schema mapped from.
        target: Schema mapped to.
        indices: One entry a source class: its label in ``target``, or None for "not comparable".
        reasons: One sentence a source class: why it goes there, or nowhere.
    """

    source: LabelSchema
    target: LabelSchema
    indices: tuple[int | None, ...]
    reasons: tuple[str, ...]

    @property
    def not_comparable(self) -> tuple[str, ...]:
        """Names of the source classes without counterpart."""
        return tuple(n for n, i in zip(self.source.names, self.indices, strict=True) if i is None)


def harmonise(source: LabelSchema, target: LabelSchema) -> LabelMapping:
    """Map the classes of one schema to those of another, by name and synonym.

    A class without counterpart is "not comparable" (None) and is never forced into another class; neither is one
    whose synonyms are several classes of ``target``, unless its own name stands for one of them.

    Raises:
        LabelError: No class of ``source`` has a counterpart.

    Example:
        >>> other = LabelSchema.from_names(["Monocyte", "blast", "band neutrophil"])
        >>> mapping = harmonise(other, PBC_LABELS)
        >>> mapping.indices
        (5, None, 6)
        >>> mapping.reasons[2]
        "'pbc' counts 'band neutrophil' as 'neutrophil'."
        >>> finer = LabelSchema.from_names(["monocyte", "band neutrophil", "segmented neutrophil"], name="finer")
        >>> harmonise(PBC_LABELS, finer).reasons[6]
        "'neutrophil' is several classes of 'finer': 'band neutrophil', 'segmented neutrophil'."
    """
    found = [_counterpart(cell, target) for cell in source]
    if all(index is None for index, _ in found):
        raise LabelError(
            f"No class of {source.name!r} ({', '.join(source.names)}) has a counterpart in {target.name!r}; "
            f"rename the class folders to its names ({', '.join(target.names)}), or add these as synonyms to the "
            "schema's classes in Python."
        )
    return LabelMapping(source, target, tuple(index for index, _ in found), tuple(reason for _, reason in found))


def _counterpart(cell: CellClass, target: LabelSchema) -> tuple[int | None, str]:
    """Label of a class in ``target`` or None, and the reason."""
    met = {index for word in (cell.name, *cell.synonyms) if (index := target.find(word)) is not None}
    if len(met) > 1 and target.find(cell.name) is None:
        several = ", ".join(repr(target.names[index]) for index in sorted(met))
        return None, f"{cell.name!r} is several classes of {target.name!r}: {several}."
    for word in (cell.name, *cell.synonyms):
        index = target.find(word)
        if index is None:
            continue
        name = target.names[index]
        if _normal(cell.name) == _normal(name):
            return index, "Both have this name."
        if word == cell.name:
            return index, f"{target.name!r} counts {word!r} as {name!r}."
        if _normal(word) == _normal(name):
            return index, f"{cell.name!r} is another name for {name!r}."
        return index, f"{cell.name!r} means {word!r}, which {target.name!r} counts as {name!r}."
    what = f" ({cell.description.removesuffix('.')})" if cell.description else ""
    return None, f"{target.name!r} has no such class{what}."
