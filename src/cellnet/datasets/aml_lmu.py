"""AML-Cytomorphology_LMU: blood of leukaemia patients and controls, Munich (Matek et al. 2019)."""

from __future__ import annotations

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.public import PublicDataset
from cellnet.labels import CellClass, LabelSchema


class AMLLMU(PublicDataset):
    """White cells of 100 patients with acute myeloid leukaemia and 100 controls, fifteen classes.

    Layout: one folder a class, named by a code of three letters, ``<CODE>/<CODE>_NNNN.tiff``, 400×400 px. Five of the
    classes have no counterpart among healthy blood cells (blasts, smudge cells, atypical forms):
    ``ds.not_comparable(target)`` gives them, to test whether a model abstains. Codes, their meaning and the counts
    are confirmed in public code; the files were not at hand, and which patient a cell is from is not published.

    Args:
        root: Folder that holds the fifteen class folders, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: This set has to be fetched by hand; True raises the error that says how, unless it is there.

    Raises:
        DataError: A class folder is not there, or holds no image.
        UnknownNameError: A folder of another class.

    Source: Matek et al., Nature Machine Intelligence 1 (2019) 538-544, DOI 10.1038/s42256-019-0101-9.

    Example:
        >>> from cellnet.labels import PBC_LABELS, harmonise
        >>> harmonise(AMLLMU.schema, PBC_LABELS).not_comparable
        ('KSC', 'LYA', 'MOB', 'MYO', 'PMB')
    """

    card = DatasetCard(
        name="aml_lmu",
        title="AML-Cytomorphology_LMU",
        description="White cells from acute myeloid leukaemia and controls, fifteen classes with blasts, 400×400 px.",
        source="https://doi.org/10.7937/tcia.2019.36f5o9ld",
        licence="CC-BY-3.0",
        citation=(
            "Matek C, Schwarz S, Marr C, Spiekermann K. A single-cell morphological dataset of leukocytes from AML "
            "patients and non-malignant controls. The Cancer Imaging Archive (2019). "
            "doi:10.7937/tcia.2019.36f5o9ld"
        ),
        doi="10.7937/tcia.2019.36f5o9ld",
        scanner="Precipoint M8, 100-fold oil immersion",
        num_images=18_365,
        known_defects=(
            "no patient of any image is published, though each gave many cells",
            "some classes are very small: LYA 11, KSC 15, PMB 18 and MOB 26 images",
        ),
        files=(
            RemoteFile(
                "AML-Cytomorphology_LMU.zip",
                instructions=(
                    "Press 'Download' at https://www.cancerimagingarchive.net/collection/aml-cytomorphology_lmu/ "
                    "(11 GB, needs the IBM Aspera plug-in) and unpack the fifteen class folders."
                ),
            ),
        ),
    )
    schema = LabelSchema(
        "aml_lmu",
        (
            CellClass("BAS", "Basophil: dark granules cover the nucleus.", "granulocyte", ("basophil",)),
            CellClass("EBO", "Erythroblast, the nucleated precursor of the red cell.", "erythroid", ("erythroblast",)),
            CellClass("EOS", "Eosinophil: coarse orange-red granules.", "granulocyte", ("eosinophil",)),
            CellClass("KSC", "Smudge cell: the remains of a burst cell.", "", ("smudge cell",)),
            CellClass(
                "LYA",
                "Atypical lymphocyte: of changed size, nucleus or colour, reactive or malignant.",
                "lymphoid",
                ("atypical lymphocyte",),
            ),
            CellClass(
                "LYT",
                "Typical lymphocyte: small, with a round dense nucleus.",
                "lymphoid",
                ("typical lymphocyte", "lymphocyte"),
            ),
            CellClass("MMZ", "Metamyelocyte, an immature granulocyte.", "granulocyte", ("metamyelocyte",)),
            CellClass("MOB", "Monoblast, the blast of the monocytic line.", "monocytic", ("monoblast",)),
            CellClass("MON", "Monocyte: large, with a folded nucleus.", "monocytic", ("monocyte",)),
            CellClass("MYB", "Myelocyte, an immature granulocyte.", "granulocyte", ("myelocyte",)),
            CellClass("MYO", "Myeloblast, the blast of the granulocytic line.", "granulocyte", ("myeloblast",)),
            CellClass("NGB", "Band neutrophil: its nucleus is not yet segmented.", "granulocyte", ("band neutrophil",)),
            CellClass("NGS", "Segmented neutrophil, the mature form.", "granulocyte", ("segmented neutrophil",)),
            CellClass("PMB", "Bilobed promyelocyte, a malignant form.", "granulocyte", ("bilobed promyelocyte",)),
            CellClass("PMO", "Promyelocyte, an immature granulocyte.", "granulocyte", ("promyelocyte",)),
        ),
    )
