"""Whole pieces of work (retrieve, store, render): they yield results and report bytes; they print nothing."""
