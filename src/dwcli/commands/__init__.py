"""One file per command: options, one job or client call, output."""
