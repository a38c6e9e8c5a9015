"""Images larger than memory: read and written by parts. How a network sees them: engine/predicting/."""
