"""From a run to scores with error bars, and what they must beat."""
