"""What is tried: each module holds the probes of one group, and each probe yields its findings."""
