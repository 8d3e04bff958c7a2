"""How many files go into one request."""

from collections.abc import Iterable, Iterator

from dwcli.files.scan import Instance


def batches(
    files: Iterable[Instance], *, max_bytes: int, max_count: int | None, around: int = 0
) -> Iterator[list[Instance]]:
    """Split files, in order, into lists of at most `max_bytes` bytes and `max_count` files.

    `max_count` None: any number; `around`: bytes that a request carries beside each file. A file larger than
    `max_bytes` goes alone. Lists are never empty, and files are taken only as they are needed.
    """
    batch: list[Instance] = []
    size = 0
    for file in files:
        length = file.size + around
        if batch and (size + length > max_bytes or len(batch) == max_count):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch
