"""A run's network for other programs: a plain twin, its files, their description, and a proof that they are equal."""
