"""Profiles: where servers are. Only this package reads the environment.

A flag overrides a variable, a variable overrides the file, the file overrides the default.
"""

from dwcli.config.choice import select
from dwcli.config.environment import Environment, at_home, may_name_proxy, proxy_from_environment, read_secret, variable
from dwcli.config.file import LONGEST, File
from dwcli.config.logins import KINDS, Login
from dwcli.config.profile import BUILT_IN, Place, Profile, address_of, built_in, built_ins, local_archive, place_of

__all__ = [
    "BUILT_IN",
    "KINDS",
    "LONGEST",
    "Environment",
    "File",
    "Login",
    "Place",
    "Profile",
    "address_of",
    "at_home",
    "built_in",
    "built_ins",
    "local_archive",
    "may_name_proxy",
    "place_of",
    "proxy_from_environment",
    "read_secret",
    "select",
    "variable",
]
