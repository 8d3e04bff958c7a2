"""One file a verb: options, one job or client call, output."""
