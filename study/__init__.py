"""Why are a few hundred masks enough? An experiment."""
