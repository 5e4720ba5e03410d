"""The page of all label mappings says what `harmonise` does."""

from __future__ import annotations

import runpy
from pathlib import Path

from cellnet.datasets.aml_lmu import AMLLMU
from cellnet.datasets.bccd import BCCD, BCCDCropped
from cellnet.datasets.pbc import PBC
from cellnet.datasets.raabin import Raabin

PAGE = Path(__file__).parents[1] / "docs" / "taxonomy.py"


def test_every_class_has_a_line_with_its_reason_for_both_targets() -> None:
    page = runpy.run_path(str(PAGE))["taxonomy_page"]([PBC, AMLLMU, BCCD, Raabin, BCCDCropped])
    lines = page.splitlines()
    for line in (
        "## [`raabin`](raabin.md), [`bccd_cropped`](bccd_cropped.md)",
        "### To PBC's eight classes",
        "### To the five leukocytes",
        "| `MMZ` | Metamyelocyte, an immature granulocyte. | `ig` | 'MMZ' means 'metamyelocyte', which 'pbc' counts as "
        "'ig'. |",
        "| `MMZ` | Metamyelocyte, an immature granulocyte. | *not comparable* | 'leukocytes' has no such class "
        "(Metamyelocyte, an immature granulocyte). |",
        "| `Platelets` | Fragment of a megakaryocyte without nucleus. | `platelet` | 'pbc' counts 'Platelets' as "
        "'platelet'. |",
    ):
        assert line in lines
    schemas = {kind.schema for kind in (PBC, AMLLMU, BCCD, Raabin)}
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) == 2 * sum(map(len, schemas)) - len(BCCD.schema)
    assert "Nothing is comparable. No class of 'bccd'" in page
