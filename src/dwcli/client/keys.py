"""Which matching attributes go to the server, and which are matched locally because it does not support them."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from dwcli.client.learned import Known
from dwcli.dicomweb.dicomjson import Row
from dwcli.dicomweb.match import Questions, fits
from dwcli.dicomweb.query import Query, Term, loosened
from dwcli.errors import RefusedError


class Division(NamedTuple):
    """The query to send, the attributes to match locally, and remarks for the user."""

    sent: Query
    here: tuple[Term, ...]
    remarks: list[str]


def divide(query: Query, known: Known) -> Division:
    """A query as this server understands it; its own rows need not show what is matched here, so that is asked for."""
    dialect = known.dialect
    strange = [term for term in query.terms if not dialect.knows(term.name)]
    ignored = [term for term in query.terms if ("unshown", f"{query.level} {term.name}") in known.facts]
    patterns = [] if dialect.wildcards else [term for term in query.terms if term.is_pattern]
    here = dict.fromkeys([*patterns, *strange, *ignored])
    loose = _loose([term for term in query.terms if term not in here], known)
    shown = [*strange, *ignored, *loose] if dialect.include_fields else strange
    wanted = [*query.include, *(term.name for term in shown if "." not in term.path)]
    sent = query._replace(
        terms=tuple(loose.get(term, term) for term in query.terms if term not in here),
        include=tuple(field for field in dict.fromkeys(wanted) if field not in dialect.refused_fields),
    )
    remarks = ["this server does not support wildcards; fetching all rows to match them locally"] if patterns else []
    remarks += _remarks(query, known, strange, ignored, loose)
    matched = (*here, *loose)
    return Division(sent._replace(limit=None, offset=0) if matched else sent, matched, remarks)


def _loose(terms: list[Term], known: Known) -> dict[Term, Term]:
    """The keys whose values cannot go to a server that never decodes, and what is asked for in their place."""
    if known.dialect.escaping != "raw" or not known.dialect.wildcards:
        return {}
    return {term: other for term in terms if (other := loosened(term))}


def _remarks(
    query: Query, known: Known, strange: list[Term], ignored: list[Term], loose: dict[Term, Term]
) -> Iterator[str]:
    for term in strange:
        yield f"this server cannot search by {term.name}; fetching all rows to match them locally"
    for term in ignored:
        yield f"this server ignores {term.name}; fetching all rows to match them locally"
    for term, other in loose.items():
        yield f"this server does not accept {term.name}={term.value}: {other.value} is queried and matched locally"
    for field in query.include:
        if field in known.dialect.refused_fields:
            yield f"this server refuses includefield={field}; its rows will lack it"


def fitting(query: Query, terms: tuple[Term, ...], rows: Iterator[Row]) -> Iterator[Row]:
    """The rows that fit the keys that are matched here, `offset` and `limit` of the query counted in these.

    Raises RefusedError at the end if no row contained the attribute to match.
    """
    questions = Questions((), terms)
    unseen = {term for term in terms if term.value.strip("*")}
    came = False
    found = 0
    for row in rows:
        came = True
        unseen = {term for term in unseen if term.path.partition(".")[0] not in row}
        if questions.answered_by(row):
            found += 1
            if found > query.offset:
                yield row
            if found == query.end:
                return
    if came and unseen:
        names = ", ".join(term.name for term in unseen)
        raise RefusedError(
            f"this server cannot search by {names}, and its rows do not contain it",
            "omit it; dw metadata shows its value",
            status=501,
        )


def described(query: Query, rows: Iterator[Row]) -> Iterator[Row]:
    """The same for rows of metadata, which show all that there is."""
    return islice((row for row in rows if all(fits(term, row) for term in query.terms)), query.offset, query.end)
