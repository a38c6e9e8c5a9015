"""From batches and a network to a trained run."""
