"""HTTP: the only room that imports httpx."""
