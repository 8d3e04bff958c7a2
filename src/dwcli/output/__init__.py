"""What `dw` prints: data on stdout, talk on stderr. The only importer of rich.

On a terminal: tables, trees, colour, progress. Into a pipe: full values, no colour, no progress, always
UTF-8. Nothing that a server sent reaches a terminal raw: `visible` shows control characters instead.
"""

from dwcli.output.out import FORMATS, Out
from dwcli.output.progress import Progress
from dwcli.output.text import size, visible

__all__ = ["FORMATS", "Out", "Progress", "size", "visible"]
