"""Writes the pages that follow from the code and from the results: reference, data sets, models, results."""

from __future__ import annotations

import csv
from pathlib import Path

import mkdocs_gen_files

from cellnet.cards import DatasetCard
from cellnet.datasets import DATASETS
from cellnet.models import create_model, list_models

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cellnet"


def write(path: str, text: str) -> None:
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


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


def dataset_page(card: DatasetCard) -> str:
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
    if card.known_defects:
        page += "\n## Known limits and defects\n\n" + "".join(f"- {defect}\n" for defect in card.known_defects)
    return page


def datasets() -> None:
    cards = [DATASETS.get(name).card for name in DATASETS.list()]
    for card in cards:
        write(f"data-sets/{card.name}.md", dataset_page(card))
    rows = [[f"[`{c.name}`]({c.name}.md)", c.title, c.licence] for c in cards]
    write("data-sets/index.md", "# Data sets\n\n" + table(["name", "title", "licence"], rows))
    links = "".join(f"- [{card.name}]({card.name}.md)\n" for card in cards)
    write("data-sets/SUMMARY.md", "- [Data sets](index.md)\n" + links)


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
    write("models.md", text.replace("{{ table }}", table(header, rows)))


def results() -> None:
    text = (ROOT / "docs" / "results.md.in").read_text(encoding="utf-8")
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        text = text.replace(f"{{{{ {path.stem} }}}}", table(header, rows))
    write("results.md", text)


reference()
datasets()
models()
results()
