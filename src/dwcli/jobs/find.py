"""Several searches as one: every row that any of them finds, once."""

from collections.abc import Iterator, Sequence
from itertools import repeat

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import Level
from dwcli.errors import AbsentError


def found(client: Client, queries: Sequence[Query]) -> Iterator[tuple[Query, Row]]:
    """Each row with the query that found it. Raises AbsentError if every query does; warns if only some do."""
    if len(queries) == 1:
        return zip(repeat(queries[0]), client.search(queries[0]))
    return _distinct(client, queries)


def _distinct(client: Client, queries: Sequence[Query]) -> Iterator[tuple[Query, Row]]:
    seen: set[tuple[str, ...]] = set()
    absent: list[AbsentError] = []
    for query in queries:
        # What was asked within need not be in the row.
        above = {refs.STUDY_UID: query.study, refs.SERIES_UID: query.series}
        tags = [level.uid_tag for level in list(Level)[: list(Level).index(query.level) + 1]]
        try:
            for row in client.search(query):
                key = tuple(text(row, tag) or above.get(tag, "") for tag in tags)
                if not key[-1] or key not in seen:
                    seen.add(key)
                    yield query, row
        except AbsentError as error:
            absent.append(error)
    if len(absent) == len(queries):
        raise absent[0]
    for missing in absent:
        client.warn(missing.message)
