"""`python -m dwcli`."""

from dwcli.main import main

main()
