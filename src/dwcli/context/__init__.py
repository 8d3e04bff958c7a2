"""What a command receives: the profile, the client and the output, each made when it is first needed."""
