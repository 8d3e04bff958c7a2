"""What a command receives: the profile, the client and the output, each made when it is first needed."""

from dwcli.context.global_options import Globals, make_out, parse_headers
from dwcli.context.run import DwContext

__all__ = ["DwContext", "Globals", "make_out", "parse_headers"]
