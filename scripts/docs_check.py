"""The built site loads nothing from elsewhere: neither scripts nor styles nor pictures.

    python scripts/docs_check.py .build/site

Links for people to follow may lead anywhere.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
_FOLLOWED = {"canonical", "next", "prev"}


class _Loaded(HTMLParser):
    """Addresses that a browser fetches by itself for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(_LOADED.get(tag, ""))
        if address and given.get("rel") not in _FOLLOWED:
            self.found.append(address)


def outside(site: Path) -> list[str]:
    """``FILE: ADDRESS`` of all that pages and styles of a built site load from another host."""
    found = []
    for file in sorted(site.rglob("*.html")):
        page = _Loaded()
        page.feed(file.read_text(encoding="utf-8"))
        found += [f"{file}: {address}" for address in page.found]
    for file in sorted(site.rglob("*.css")):
        found += [f"{file}: {address}" for address in re.findall(r"url\(([^)]+)\)", file.read_text(encoding="utf-8"))]
    return [line for line in found if re.match(r"[\"']?(https?:)?//", line.split(": ", 1)[1])]


def main(site: str) -> None:
    """Say what is loaded from elsewhere, and exit with 1 if there is any."""
    pages = sorted(Path(site).rglob("*.html"))
    found = outside(Path(site))
    if found or not pages:
        raise SystemExit("\n".join([*found, f"{len(pages)} pages load {len(found)} things from elsewhere."]))


if __name__ == "__main__":
    main(*sys.argv[1:])
