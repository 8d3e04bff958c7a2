"""How many files go into one request."""

from collections.abc import Iterable, Iterator

from dwcli.files.scan import DicomFile


def batches(files: Iterable[DicomFile], *, max_bytes: int, max_count: int | None) -> Iterator[list[DicomFile]]:
    """Split files, in order, into lists of at most `max_bytes` bytes and `max_count` files.

    `max_count` None: any number. A file larger than `max_bytes` goes alone. Lists are never empty, and files
    are taken only as they are needed.
    """
    batch: list[DicomFile] = []
    size = 0
    for file in files:
        if batch and (size + file.size > max_bytes or len(batch) == max_count):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch
