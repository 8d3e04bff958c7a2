"""The DICOMweb services of one server as iterators of values. Knows the dialect; holds nothing larger than a chunk.

`connection` asks and looks at what came. On it stand `storing`, and one on the other `rows` (reads one answer), `pages`
(all answers of one resource), `resolving` (UIDs above), `searching` (at every level) and `retrieving`.
"""

from dwcli.client.exchange import Event, Opened
from dwcli.client.storing import Storing, UnansweredError
from dwcli.client.transfer import Retrieving

__all__ = ["Client", "Event", "Opened", "UnansweredError"]


class Client(Retrieving, Storing):
    """One server with all its services."""
