"""What a command receives: the profile, the client and the output, each created on first use."""
