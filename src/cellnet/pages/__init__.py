"""Pages: one HTML file each, with no network, and everything from outside escaped. All pages of cellnet look alike."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from cellnet._version import __version__

if TYPE_CHECKING:
    from torch import Tensor

HERE = Path(__file__).parent


def render_page(template: Path, **values: Any) -> str:
    """A page from a template that extends ``page.html.j2`` of this folder.

    That one has the head, the looks and the end, and wants ``kind`` (report, audit, ...), ``title`` and ``overview``. A
    template with tables of the class ``sortable`` fills the block ``script`` with ``{{ sorting }}``.

    Args:
        template: The file; it may include others beside it.
        values: What the template shows; all values are escaped.
    """
    page = _environment(template.parent).get_template(template.name).render(**values)
    # On Linux a file name may hold bytes that are not text; a page cannot.
    return page.encode("utf-8", "replace").decode("utf-8")


def picture(image: Tensor, size: int, *, quality: int = 85) -> str:
    """An image, uint8 3×H×W, as a data URI: a JPEG of at most ``size`` pixels a side."""
    small = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    small.thumbnail((size, size))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def percent(share: float, digits: int = 1) -> str:
    """A share as text, without the sign.

    Example:
        >>> percent(0.98512), percent(float("nan"))
        ('98.5', '–')
    """
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def certainty(probability: float) -> str:
    """A probability in per cent that never claims to be certain.

    Example:
        >>> certainty(0.99999), certainty(0.75), certainty(0.0)
        ('>99.9', '75.0', '<0.1')
    """
    if probability >= 0.9995:
        return ">99.9"
    return "<0.1" if probability < 0.0005 else percent(probability)


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (HERE / "sorting.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.filters |= {"percent": percent, "certainty": certainty, "thousands": "{:,}".format}
    environment.globals |= {
        "version": __version__,
        # The browser runs this script and no other, and asks for nothing: the head of the page says so.
        "sorting": Markup(f"<script>{script}</script>"),  # noqa: S704 - our own file
        "sorting_hash": f"sha256-{digest}",
    }
    return environment
