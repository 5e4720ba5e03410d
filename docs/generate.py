"""Writes the pages that follow from the code and from the results: reference, data sets, models, results, speed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import mkdocs_gen_files

from cellnet.datasets import DATASETS, CellDataset, PublicDataset
from cellnet.models import create_model, list_models

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cellnet"


def write(path: str, text: str) -> None:
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def helper(file: str, name: str) -> Any:
    """A function of a script that lies beside this one."""
    return runpy.run_path(str(ROOT / "docs" / file))[name]


def reference() -> None:
    """A page a room: the package's own files, or one file at the root."""
    rooms: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] in {"cli", "__init__", "__main__", "_version"}:
            continue
        rooms.setdefault(parts[0], [])
        if parts[-1] != "__init__":
            rooms[parts[0]].append(".".join(("cellnet", *parts)))
    for room, modules in rooms.items():
        write(f"reference/{room}.md", f"# cellnet.{room}\n\n" + "\n".join(f"::: {m}\n" for m in modules))
    write("reference/index.md", "# Reference\n\n" + "".join(f"- [cellnet.{r}]({r}.md)\n" for r in rooms))
    summary = "".join(f"- [cellnet.{r}]({r}.md)\n" for r in rooms)
    write("reference/SUMMARY.md", "- [Reference](index.md)\n" + summary)


def dataset_page(kind: type[CellDataset]) -> str:
    card = kind.card
    facts = {
        "Source": card.source,
        "DOI": f"[{card.doi}](https://doi.org/{card.doi})" if card.doi else "",
        "Licence": card.licence,
        "Citation": card.citation,
        "Stain": card.stain,
        "Scanner": card.scanner,
        "µm per pixel": "" if card.microns_per_pixel is None else f"{card.microns_per_pixel}",
        "Published images": "" if card.num_images is None else f"{card.num_images:,}",
    }
    rows = [[name, value] for name, value in facts.items() if value]
    page = f"# {card.title}\n\n`cellnet.load_dataset({card.name!r}, …)`\n\n{card.description}\n\n"
    page += table(["", ""], rows) if rows else ""
    if issubclass(kind, PublicDataset):
        page += "\n## Classes\n\n" + table(
            ["label", "class", "what it is"],
            [[str(label), f"`{cell.name}`", cell.description] for label, cell in enumerate(kind.schema)],
        )
        page += "\n[How they map to other schemas](taxonomy.md).\n"
    if card.files:
        page += "\n## Files\n\n" + table(
            ["file", "bytes", "hash", "how to get it"],
            [
                [f"`{f.name}`", f"{f.size:,}" if f.size else "", f"`{f.sha256 or f.md5}`" if f.sha256 or f.md5 else "",
                 f"`cellnet download {card.name}`" if f.urls else f.instructions]
                for f in card.files
            ],
        )  # fmt: skip
    if card.known_defects:
        page += "\n## Known limits and defects\n\n" + "".join(f"- {defect}\n" for defect in card.known_defects)
    return page + f"\n## Reader\n\n::: {kind.__module__}.{kind.__name__}\n"


def datasets() -> None:
    kinds = [DATASETS.get(name) for name in DATASETS.list()]
    for kind in kinds:
        write(f"data-sets/{kind.card.name}.md", dataset_page(kind))
    public = [kind for kind in kinds if issubclass(kind, PublicDataset)]
    write("data-sets/taxonomy.md", helper("taxonomy.py", "taxonomy_page")(public))
    rows = [
        [
            f"[`{k.card.name}`]({k.card.name}.md)",
            k.card.title,
            str(len(k.schema)) if issubclass(k, PublicDataset) else "",
            "" if k.card.num_images is None else f"{k.card.num_images:,}",
            k.card.licence,
        ]
        for k in kinds
    ]
    text = "# Data sets\n\n" + table(["name", "title", "classes", "images", "licence"], rows)
    write("data-sets/index.md", text + "\n[How their labels map to each other](taxonomy.md).\n")
    links = "".join(f"- [{kind.card.name}]({kind.card.name}.md)\n" for kind in kinds)
    write("data-sets/SUMMARY.md", "- [Data sets](index.md)\n- [How labels map](taxonomy.md)\n" + links)


def pictures() -> None:
    draw = helper("augment_sheet.py", "contact_sheet")
    for name in ("light", "strong", "domain"):
        with mkdocs_gen_files.open(f"assets/augment-{name}.png", "wb") as file:
            file.write(draw(name))


def models() -> None:
    rows = []
    for name in list_models():
        model = create_model(name)
        parameters = sum(p.numel() for p in model.parameters())
        rows.append(
            [
                f"`{name}`",
                f"{parameters / 1e6:.1f} M",
                str(model.backbone.num_features),
                str(model.preprocess.image_size),
            ]
        )
    header = ["name", "parameters, with head", "features", "input, px"]
    text = (ROOT / "docs" / "models.md.in").read_text(encoding="utf-8")
    filled = helper("result_tables.py", "fill")(text.replace("{{ table }}", table(header, rows)))
    write("models.md", filled)


def results() -> None:
    """The page of results, and the tables of results in the other pages."""
    fill, docs = helper("result_tables.py", "fill"), ROOT / "docs"
    write("results.md", fill((docs / "results.md.in").read_text(encoding="utf-8")))
    for page in sorted(docs.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text)) != text:
            write(page.relative_to(docs).as_posix(), filled)


def speed() -> None:
    """The page of speed and its pictures."""
    write("speed.md", helper("speed_page.py", "fill")((ROOT / "docs" / "speed.md.in").read_text(encoding="utf-8")))
    for name, picture in helper("speed_plots.py", "draw")().items():
        with mkdocs_gen_files.open(f"assets/{name}.png", "wb") as file:
            file.write(picture)


reference()
datasets()
pictures()
models()
results()
speed()
