"""The disk: what lies in a folder, and how a file gets into one whole or not at all."""
