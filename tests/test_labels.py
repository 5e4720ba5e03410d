"""`cellnet.labels`: schemas, their hash, and how one maps to another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from cellnet.errors import LabelError, UnknownNameError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, CellClass, LabelSchema, harmonise

BLOODMNIST = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)


class TestPBC:
    def test_order_is_that_of_the_folders_and_of_bloodmnist(self) -> None:
        assert PBC_LABELS.names == BLOODMNIST
        assert list(PBC_LABELS.names) == sorted(PBC_LABELS.names)

    def test_every_class_is_described(self) -> None:
        for cell in PBC_LABELS:
            assert cell.description.endswith(".")
            assert cell.lineage
            assert cell.synonyms

    @pytest.mark.parametrize(
        ("word", "name"),
        [
            ("Neutrophils", "neutrophil"),
            ("NEUTROPHIL", "neutrophil"),
            ("segmented_neutrophil", "neutrophil"),
            ("Immature Granulocytes", "ig"),
            ("IG", "ig"),
            ("pro-myelocyte", "ig"),
            ("PLT", "platelet"),
            ("ERB", "erythroblast"),
            ("BA", "basophil"),
        ],
    )
    def test_synonyms(self, word: str, name: str) -> None:
        assert PBC_LABELS.names[PBC_LABELS.index(word)] == name

    def test_hash_is_fixed_for_ever(self) -> None:
        # Checkpoints carry it: a new value means that old weights no longer fit.
        expected = hashlib.sha256(json.dumps(list(BLOODMNIST)).encode()).hexdigest()[:16]
        assert PBC_LABELS.hash == expected


class TestLeukocytes:
    def test_they_are_classes_of_pbc_in_alphabetical_order(self) -> None:
        assert LEUKOCYTES.names == ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
        assert all(cell is PBC_LABELS.classes[PBC_LABELS.index(cell.name)] for cell in LEUKOCYTES)

    def test_hash_is_fixed_for_ever(self) -> None:
        expected = hashlib.sha256(json.dumps(list(LEUKOCYTES.names)).encode()).hexdigest()[:16]
        assert LEUKOCYTES.hash == expected != PBC_LABELS.hash

    def test_pbc_goes_to_them_without_what_is_no_mature_white_cell(self) -> None:
        mapping = harmonise(PBC_LABELS, LEUKOCYTES)
        assert mapping.indices == (0, 1, None, None, 2, 3, 4, None)
        assert mapping.not_comparable == ("erythroblast", "ig", "platelet")


class TestLabelSchema:
    def test_length_iteration_and_lookup(self) -> None:
        schema = LabelSchema.from_names(["b", "a"])
        assert len(schema) == 2
        assert [cell.name for cell in schema] == ["b", "a"]
        assert schema.index("a") == 1
        assert schema.find("c") is None

    def test_unknown_class(self) -> None:
        with pytest.raises(UnknownNameError, match="Did you mean 'monocyte'"):
            PBC_LABELS.index("monocite")

    def test_hash_follows_names_and_order_only(self) -> None:
        schema = LabelSchema.from_names(["a", "b"])
        described = LabelSchema("other", (CellClass("a", "An a.", "x", ("alpha",)), CellClass("b")))
        assert schema.hash == described.hash
        assert schema.hash != LabelSchema.from_names(["b", "a"]).hash
        assert schema.hash != LabelSchema.from_names(["a", "c"]).hash
        assert LabelSchema.from_names(["a", "b"]).hash != LabelSchema.from_names(["a, b"]).hash

    def test_from_names_keeps_what_is_known(self) -> None:
        schema = LabelSchema.from_names(["monocyte", "blast"])
        assert schema.classes[0] == PBC_LABELS.classes[5]
        assert schema.classes[1] == CellClass("blast")

    def test_from_names_takes_the_known_spelling(self) -> None:
        assert LabelSchema.from_names(["Neutrophil", "Blast"]).names == ("neutrophil", "Blast")

    def test_from_names_takes_a_plural_for_the_same_class(self) -> None:
        with pytest.raises(LabelError, match="'neutrophils' stands for two classes"):
            LabelSchema.from_names(["neutrophils", "neutrophil"])

    @pytest.mark.parametrize("names", [["neutrophil", "band neutrophil"], ["Myelocyte", "IG"]])
    def test_from_names_leaves_a_synonym_that_is_a_class_to_that_class(self, names: list[str]) -> None:
        schema = LabelSchema.from_names(names)
        assert [schema.find(name) for name in names] == [0, 1]
        assert harmonise(schema, PBC_LABELS).indices in {(6, 6), (3, 3)}

    def test_synonyms_are_no_single_text(self) -> None:
        with pytest.raises(LabelError, match=r"synonyms of 'lympho' are one text.*\('lymphocyte',\)"):
            CellClass("lympho", synonyms="lymphocyte")  # type: ignore[arg-type]

    def test_round_trip_through_json(self) -> None:
        assert LabelSchema.from_dict(json.loads(json.dumps(PBC_LABELS.to_dict()))) == PBC_LABELS

    def test_bare_classes_are_enough(self) -> None:
        schema = LabelSchema.from_dict({"name": "x", "classes": [{"name": "a"}, {"name": "b"}]})
        assert schema.names == ("a", "b")

    @pytest.mark.parametrize(
        "data", [None, [], {}, {"name": "x"}, {"name": "x", "classes": ["a"]}, {"name": "x", "classes": None}]
    )
    def test_foreign_dictionaries(self, data: Any) -> None:
        with pytest.raises(LabelError, match="Not a label schema"):
            LabelSchema.from_dict(data)

    @pytest.mark.parametrize(
        ("classes", "cause"),
        [
            ((), "has no class"),
            ((CellClass("a"), CellClass("A")), "stands for two classes, 'a' and 'A'"),
            (
                (CellClass("a", synonyms=("c",)), CellClass("b", synonyms=("C",))),
                "'c' stands for two classes",
            ),
            ((CellClass("a"), CellClass(" ")), "a class without a name"),
        ],
    )
    def test_schemas_that_cannot_be(self, classes: tuple[CellClass, ...], cause: str) -> None:
        with pytest.raises(LabelError, match=cause):
            LabelSchema("x", classes)

    def test_a_name_may_be_its_own_synonym(self) -> None:
        assert LabelSchema("x", (CellClass("ab", synonyms=("A-B", "a b")),)).index("A_B") == 0

    def test_frozen(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            PBC_LABELS.name = "other"  # type: ignore[misc]

    def test_describe_has_one_line_a_class(self) -> None:
        lines = PBC_LABELS.describe().splitlines()
        assert len(lines) == 8
        assert lines[3].startswith("3  ig ")
        assert "granulocyte: Immature" in lines[3]
        assert LabelSchema.from_names(["blast"]).describe() == "0  blast"


class TestHarmonise:
    def test_with_itself(self) -> None:
        mapping = harmonise(PBC_LABELS, PBC_LABELS)
        assert mapping.indices == tuple(range(8))
        assert mapping.not_comparable == ()

    def test_other_names_order_and_a_class_without_counterpart(self) -> None:
        source = LabelSchema.from_names(["LYM", "blast", "Neutrophils"])
        mapping = harmonise(source, PBC_LABELS)
        assert mapping.indices == (4, None, 6)
        assert mapping.not_comparable == ("blast",)
        assert (mapping.source, mapping.target) == (source, PBC_LABELS)

    def test_the_source_may_know_the_synonym(self) -> None:
        source = LabelSchema("x", (CellClass("polymorph", synonyms=("neutrophil",)),))
        assert harmonise(source, PBC_LABELS).indices == (6,)

    def test_several_classes_may_join(self) -> None:
        source = LabelSchema.from_names(["promyelocyte", "myelocyte", "metamyelocyte"])
        assert harmonise(source, PBC_LABELS).indices == (3, 3, 3)

    def test_a_coarse_class_is_not_forced_into_one_of_several(self) -> None:
        target = LabelSchema.from_names(["promyelocyte", "myelocyte", "monocyte"], name="fine")
        mapping = harmonise(PBC_LABELS, target)
        assert mapping.indices == (None, None, None, None, None, 2, None, None)
        assert mapping.reasons[3] == "'ig' is several classes of 'fine': 'promyelocyte', 'myelocyte'."
        coarser = LabelSchema("coarser", (CellClass("young", synonyms=("ig",)), CellClass("myelocyte")))
        assert harmonise(PBC_LABELS, coarser).indices[3] == 0  # its own name decides

    def test_every_class_has_its_reason(self) -> None:
        source = LabelSchema(
            "x",
            (
                CellClass("Monocyte"),
                CellClass("LYM"),
                CellClass("polymorph", synonyms=("Neutrophil",)),
                CellClass("MMZ", synonyms=("a word of our own", "metamyelocyte")),
                CellClass("blast", "Cell at the start of its line."),
                CellClass("dirt"),
            ),
        )
        mapping = harmonise(source, PBC_LABELS)
        assert mapping.indices == (5, 4, 6, 3, None, None)
        assert mapping.reasons == (
            "Both have this name.",
            "'pbc' counts 'LYM' as 'lymphocyte'.",
            "'polymorph' is another name for 'neutrophil'.",
            "'MMZ' means 'metamyelocyte', which 'pbc' counts as 'ig'.",
            "'pbc' has no such class (Cell at the start of its line).",
            "'pbc' has no such class.",
        )

    def test_an_abnormal_cell_is_not_forced_into_the_class_whose_name_it_holds(self) -> None:
        names = ["atypical lymphocyte", "promonocyte", "myeloblast", "platelet clump", "NRBC fragment", "monocyte"]
        assert harmonise(LabelSchema.from_names(names), PBC_LABELS).indices == (None, None, None, None, None, 5)

    def test_nothing_in_common(self) -> None:
        with pytest.raises(LabelError, match=r"'custom' \(cat, dog\).*rename the class folders to its names \(baso"):
            harmonise(LabelSchema.from_names(["cat", "dog"]), PBC_LABELS)


def test_maturation_runs_from_young_to_old_line_by_line() -> None:
    names = [
        "platelet",
        "segmented neutrophil",
        "smudge",
        "Myelocyte",
        "lymphocyte",
        "blast",
        "band_neutrophil",
        "debris",
    ]
    schema = LabelSchema.from_names(names)
    ordered = [schema.names[label] for label in schema.maturation_order]
    line = ["blast", "Myelocyte", "band_neutrophil", "segmented neutrophil", "lymphocyte", "platelet"]
    assert ordered == [*line, "smudge", "debris"]
    assert sorted(PBC_LABELS.maturation_order) == list(range(8))


def test_synonyms_have_their_step() -> None:
    schema = LabelSchema(
        "lab", (CellClass("MON", synonyms=("monocyte",)), CellClass("PMO", synonyms=("promyelocyte",)))
    )
    assert schema.maturation_order == (1, 0)
