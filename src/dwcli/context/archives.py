"""Folders as DICOMweb servers, in this process or for this machine."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dwcli import config
from dwcli.output import Out

if TYPE_CHECKING:
    from dwcli.archive.app import Archive


def open_archive(place: config.Place, out: Out, *, read_only: bool = False, prefix: str = "") -> "Archive":
    """Open the archive in a place, and create or update its index; the caller closes it."""
    from dwcli.archive import app

    with out.progress("indexing") as progress:

        def tell(done: int, total: int) -> None:
            progress.total(items=total)
            while progress.done_items < done:
                progress.item()

        match place.kind:
            case "folder":
                archive = app.open_folder(place.root, place.indexes, prefix=prefix, progress=tell, say=out.warn)
            case "demo":
                from dwcli.archive import demo

                if demo.make(place.root):
                    out.info(f"created a demo archive in {place.root} (read only)")
                    out.info("hint: dw profile add NAME URL (to use your own server)")
                archive = app.open_archive(place.root, read_only=True, prefix=prefix, progress=tell, say=out.warn)
            case "archive":
                archive = app.open_archive(place.root, read_only=read_only, prefix=prefix, progress=tell, say=out.warn)
    for path, reason in list(archive.folder.unreadable.items())[:5]:
        out.warn(f"{path} is not in the archive: {reason}")
    if (count := len(archive.folder.unreadable)) > 5:
        out.warn(f"{count - 5} more files cannot be read")
    return archive


def serve(root: Path | None, port: int, out: Out, *, read_only: bool, reindex: bool) -> None:
    """Serve an archive, or any folder read only, on a local port until interrupted. Raises DwError."""
    from dwcli.archive import app, server

    known = root is None
    root = config.at_home(str(root or config.local_archive()))
    known = known or app.is_archive(root)
    is_archive = known or not root.exists() or not any(root.iterdir())
    place = config.Place("archive", root, root) if is_archive else config.place_of(root)
    what = "archive" if is_archive else "folder"
    how = "" if is_archive and not read_only else ", read only"

    def ready(url: str) -> None:
        out.info(f"serving the {what} {root}{how} at {url}   (Ctrl-C to stop)")

    with closing(open_archive(place, out, read_only=read_only, prefix=server.PREFIX)) as archive:
        if reindex:
            archive.folder.reindex()
        server.run(archive, port, ready=ready, log=out.info)
