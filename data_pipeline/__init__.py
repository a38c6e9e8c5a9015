"""Files on disk → pairs → a split → batches. Knows files and arrays, knows no model."""
