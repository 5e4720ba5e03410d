"""MLL23: blood of leukaemia and lymphoma patients, Munich Leukemia Laboratory (Shetab Boushehri et al. 2025)."""

from __future__ import annotations

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.public import PublicDataset
from cellnet.labels import CellClass, LabelSchema

_SCHEMA = LabelSchema(
    "mll23",
    (
        CellClass("basophil", "Granulocyte whose dark granules cover the nucleus.", "granulocyte"),
        CellClass("eosinophil", "Granulocyte with coarse orange-red granules.", "granulocyte"),
        CellClass("hairy_cell", "Hairy cell, a malignant B cell with fringed border.", "lymphoid"),
        CellClass("lymphocyte", "Typical mature lymphocyte.", "lymphoid", ("typical lymphocyte",)),
        CellClass(
            "lymphocyte_large_granular",
            "Large granular lymphocyte, which the publisher counts among the atypical ones.",
            "lymphoid",
            ("large granular lymphocyte", "LGL"),
        ),
        CellClass(
            "lymphocyte_neoplastic",
            "Malignant lymphocyte of another kind than the hairy cell.",
            "lymphoid",
            ("neoplastic lymphocyte",),
        ),
        CellClass(
            "lymphocyte_reactive", "Reactive lymphocyte, enlarged and bluer.", "lymphoid", ("reactive lymphocyte",)
        ),
        CellClass("metamyelocyte", "Immature granulocyte, the step before the band.", "granulocyte"),
        CellClass("monocyte", "Large cell with a folded nucleus.", "monocytic"),
        CellClass("myeloblast", "Myeloblast, the blast of the granulocytic line.", "granulocyte"),
        CellClass("myelocyte", "Immature granulocyte, the step before the metamyelocyte.", "granulocyte"),
        CellClass(
            "neutrophil_band", "Neutrophil whose nucleus is not yet segmented.", "granulocyte", ("band neutrophil",)
        ),
        CellClass(
            "neutrophil_segmented",
            "Neutrophil with a segmented nucleus, the mature form.",
            "granulocyte",
            ("segmented neutrophil",),
        ),
        CellClass("normoblast", "Nucleated precursor of the red cell.", "erythroid", ("erythroblast",)),
        CellClass("plasma_cell", "Plasma cell: a B cell that secretes antibody, rare in blood.", "lymphoid"),
        CellClass("promyelocyte", "Immature granulocyte, the step before the myelocyte.", "granulocyte"),
        CellClass(
            "promyelocyte_atypical",
            "Malignant promyelocyte, as in acute promyelocytic leukaemia.",
            "granulocyte",
            ("atypical promyelocyte",),
        ),
        CellClass("smudge_cell", "Smudge cell: the remains of a burst cell.", ""),
    ),
)


class MLL23(PublicDataset):
    """Nucleated blood cells of patients with many haematological diagnoses, eighteen classes.

    Layout: one folder a class, ``<class>/<class>_NNNN.TIF``, 288×288 px, from one ZIP archive a class. A folder may
    bear a synonym of its class. Eight of the classes are not those of healthy blood (blasts, hairy cells, plasma
    cells, smudge cells, reactive and neoplastic forms): ``ds.not_comparable(target)`` gives them. To use some of the
    classes only, read their folders with ``load_dataset("folder", ROOT, labels=MLL23.schema)``.

    Names, counts, layout and scale are confirmed in the publisher's repository. The files were not at hand: the
    folders within the archives, and their checksums, are not confirmed.

    Args:
        root: Folder that holds the eighteen class folders, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: Fetch the eighteen archives if a class folder is not there.

    Raises:
        DataError: A class folder is not there, or holds no image.
        UnknownNameError: A folder of another class.

    Source: Shetab Boushehri et al., Scientific Data 12 (2025) 1773, DOI 10.1038/s41597-025-06223-x.

    Example:
        >>> MLL23.card.microns_per_pixel
        0.0868
    """

    card = DatasetCard(
        name="mll23",
        title="MLL23, Munich Leukemia Laboratory",
        description="Nucleated cells from the blood of haematological patients, eighteen classes, 288×288 px.",
        source="https://doi.org/10.5281/zenodo.14277609",
        licence="CC-BY-4.0",
        citation=(
            "Shetab Boushehri S, Kazeminia S, Gruber A, Matek C, Spiekermann K, Pohlkamp C, Haferlach T, Marr C. "
            "A large expert-annotated single-cell peripheral blood dataset for hematological disease diagnostics. "
            "Scientific Data 12 (2025) 1773. doi:10.1038/s41597-025-06223-x"
        ),
        doi="10.5281/zenodo.14277609",
        stain="Pappenheim",
        scanner="MetaSystems Metafer",
        microns_per_pixel=0.0868,  # 25 µm over 288 px
        num_images=41_621,
        known_defects=(
            "no patient of any image is published, though each may have given many cells",
            "reactive lymphocytes are 33 images only",
        ),
        files=tuple(
            RemoteFile(
                f"{name}.zip",
                (
                    f"https://zenodo.org/records/14277609/files/{name}.zip?download=1",
                    f"https://zenodo.org/api/records/14277609/files/{name}.zip/content",
                ),
            )
            for name in _SCHEMA.names
        ),
    )
    schema = _SCHEMA
