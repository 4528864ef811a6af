"""What mkdocs does to pages beyond their Markdown: files that lie outside of docs/ get links of the site."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = {
    "changelog.md": {"docs/": "", "CONTRIBUTING.md": "extending.md"},
    "extending.md": {"docs/": ""},
    "security.md": {"docs/": ""},
    "frameworks.md": {"../../docs/": ""},
}
"""Of a page that includes a file of the repository's root: how that file's links begin, and how the page's do."""


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Leave out comments, which tell the tests about a snippet and readers nothing."""
    return re.sub(r"<!--.*?-->\n?", "", html, flags=re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put included files in, with links that are right where they are now."""
    for start, new in _OUTSIDE.get(page.file.src_uri, {}).items():
        markdown = _included(markdown).replace(f"]({start}", f"]({new}")
    return markdown


def _included(markdown: str) -> str:
    """The text with each line ``--8<-- "FILE"`` replaced by that file."""

    def read(match: re.Match[str]) -> str:
        with open(match[1], encoding="utf-8") as file:
            return file.read()

    return re.sub(r'^--8<-- "([^"]+)"$', read, markdown, flags=re.MULTILINE)
