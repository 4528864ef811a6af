"""``index.html``: what a run has written, to browse it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from boxcam.errors import OutputError
from boxcam.explain.browse.card import Entry, card_of, entry_of
from boxcam.explain.browse.page import page
from boxcam.explain.evidence import Evidence
from boxcam.explain.files import write_files
from boxcam.explain.heat import common_top
from boxcam.explain.look import Look
from boxcam.explain.names import PAGE, check_free, check_page
from boxcam.leftovers import file_aside


class Index:
    """The page of a run: it grows by an image at a time, of which only thumbnails are kept, and is written at the end.

    Args:
        folder: where results and page go; it is made before the first image is added, see `make_folder`.

    Raises:
        OutputError: a page is there that is not boxcam's.
    """

    def __init__(self, folder: Path) -> None:
        check_page(folder)
        self._folder = folder
        self._entries: list[Entry] = []

    def save(
        self,
        evidence: Evidence,
        name: str,
        progress: Callable[[int, int], None] | None = None,
        look: Look | None = None,
    ) -> None:
        """Write the results of an image, as `boxcam.Explanation.save` does, and keep what the page shows of them.

        Args:
            evidence: the explanation.
            name: of its files, without extension.
            progress: called with the number of maps written and their total.
            look: how sheet and page draw the maps, by default as `boxcam.Explanation.save` does.

        Raises:
            OutputError, BoxcamError: as for `boxcam.Explanation.save`; then the page does not show the image.
        """
        image = evidence.query.image
        check_free([name], self._folder, [] if image is None else [Path(image)])
        look = Look(signed=evidence.signed, fine=evidence.of_pixels) if look is None else look
        top = common_top(evidence, look)  # of all maps, before the first is drawn
        entry = entry_of(evidence, name, look)
        write_files(
            evidence,
            self._folder,
            name,
            progress,
            lambda k, values, facts: entry.cards.append(card_of(evidence, k, values, facts, look, top)),
            look,
        )
        self._entries.append(entry)

    def write(self) -> Path | None:
        """Write the page; it is whole or not there.

        Returns:
            Its path; None if there is no image to show.

        Raises:
            OutputError: it cannot be written, or a page is there by now that is not boxcam's.
        """
        if not self._entries:
            return None
        check_page(self._folder)
        path = self._folder / PAGE
        try:
            with file_aside(path, "result") as file:
                for piece in page(self._entries):
                    file.write(piece.encode())
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}. Choose another folder.") from error
        return path
