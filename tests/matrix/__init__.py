"""What the table in `e2e/test_matrix.py` is made of: the four servers, and what can be said of a finished command."""
