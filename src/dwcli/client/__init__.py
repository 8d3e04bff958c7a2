"""The DICOMweb services of one server as iterators of values. Knows the dialect; holds nothing larger than a chunk.

`learned` holds what is known about the server, `exchange` sends and checks one request. `pages` reads one resource
page by page, `keys` selects what to match locally, `auto` probes a server's behaviour, and `search` combines
them; `transfer` retrieves and stores.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from dwcli.client.exchange import Event, Exchange, Opened
from dwcli.client.learned import Learned
from dwcli.client.search import Search
from dwcli.client.transfer import Transfer, UnansweredError
from dwcli.dicomweb import media
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Ref
from dwcli.dicomweb.request import Rendering, Request
from dwcli.net.response import Response
from dwcli.net.transport import Transport

if TYPE_CHECKING:
    from dwcli.dicomweb import stow
    from dwcli.net.body import Part

__all__ = ["Client", "Event", "Opened", "UnansweredError"]


class Client:
    """One server with all its services, safe to use from several threads.

    `warn(text)` receives, once each, what a user should know but cannot see in the values. What the responses
    reveal about the server is kept for the rest of the run.
    """

    def __init__(
        self,
        base: str,
        dialect: Dialect,
        transport: Transport,
        *,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.base = base.rstrip("/")
        self.transport = transport
        self._learned = Learned(dialect, warn)
        self._exchange = Exchange(self.base, self._learned, transport)
        self._search = Search(self._exchange)
        self._transfer = Transfer(self._exchange, self._search)

    @property
    def dialect(self) -> Dialect:
        """Return the dialect as it is known now."""
        return self._learned.now.dialect

    def learn(self, **changes: Any) -> None:
        """Set dialect fields that are already known."""
        self._learned.learn(self._learned.now, **changes)

    def prefer_xml(self) -> None:
        """Prefer XML in searches and metadata from now on; fall back to JSON where the server has none."""
        self.learn(json_type=media.DICOM_XML)

    def warn(self, text: str) -> None:
        """Warn the user, once per text."""
        self._learned.warn(text)

    def request(self, asked: Request) -> AbstractContextManager[Response]:
        """Send any request with this server's login; return refusals as responses, too."""
        return self._exchange.request(asked)

    def call(self, asked: Request) -> bytes:
        """Send any request and read the response's body. Raises the DwError that a status of 400 or above means."""
        return self._exchange.call(asked)

    def search(self, query: Query) -> Iterator[Row]:
        """The rows that match, in the server's order, each UID once (PS3.18 10.6)."""
        return self._search.search(query)

    def series_of(self, study: str) -> Iterator[Row]:
        """The series of a study: their UIDs, and NumberOfSeriesRelatedInstances where the server gives it."""
        return self._search.series_of(study)

    def resolve(self, ref: Ref) -> Ref:
        """A reference with every UID above its own found by a search. Raises AbsentError where there is none."""
        return self._search.resolve(ref)

    def locate(self, ref: Ref) -> Ref:
        """Like `resolve`, but unchanged if the UIDs above are unavailable and `retrieve` needs none."""
        return self._search.locate(ref)

    def metadata(self, ref: Ref) -> Iterator[Row]:
        """The metadata of each instance below `ref`, as received (PS3.18 10.4.1.1.2)."""
        return self._transfer.metadata(ref)

    def retrieve(self, ref: Ref, transfer_syntax: str = "*") -> Iterator[Event]:
        """The instances below `ref` as they come: Opened, then PartStart, PartData…, PartEnd for each (PS3.18 10.4).

        Ends with Truncated, or raises, where the response stops early; a part is whole only after its PartEnd.
        """
        return self._transfer.retrieve(ref, transfer_syntax)

    def frames(self, ref: FrameRef, transfer_syntax: str = "") -> Iterator[Event]:
        """Yield the frames in ascending order, one part each; raw little endian unless a syntax is given."""
        return self._transfer.frames(ref, transfer_syntax)

    def bulkdata(self, url: str) -> Iterator[Event]:
        """Bulk data by its URL, which must lie under the profile's own address."""
        return self._transfer.bulkdata(url)

    def bulkdata_url(self, ref: InstanceRef, tag: str) -> str:
        """The URL of one attribute's value, from the instance's metadata. Raises AbsentError where it names none."""
        return self._transfer.bulkdata_url(ref, tag)

    def rendered(self, ref: Ref | FrameRef, wanted: Rendering) -> Iterator[Event]:
        """Yield the server's rendered image (PS3.18 10.4.1.1.3)."""
        return self._transfer.rendered(ref, wanted)

    def wado_uri(self, ref: InstanceRef, transfer_syntax: str = "*", *, anonymize: bool = False) -> Iterator[Event]:
        """One instance by WADO-URI (PS3.18 chapter 9)."""
        return self._transfer.wado_uri(ref, transfer_syntax, anonymize=anonymize)

    def store(
        self, parts: Sequence["Part"], instances: Sequence[str], study: str = "", *, on_bytes: Callable[[int], None]
    ) -> "stow.Reply":
        """Store Part 10 bytes in one request (PS3.18 10.5); see `Transfer.store`."""
        return self._transfer.store(parts, instances, study, on_bytes=on_bytes)
