"""Many images and images larger than memory, through ``engine.predictor`` and to files; used by predict.py alone."""
