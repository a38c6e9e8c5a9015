"""Several runs: which differences are more than chance, and whether more masks would help."""
