"""What `dw` prints: data on stdout, messages on stderr. Only this package imports rich.

On a terminal: tables, trees, colour, progress. Into a pipe: full values, no colour, no progress, always
UTF-8. No server data reaches a terminal unescaped: `visible` escapes control characters.
"""

from dwcli.output.out import FORMATS, Out
from dwcli.output.progress import Progress
from dwcli.output.text import size, visible

__all__ = ["FORMATS", "Out", "Progress", "size", "visible"]
