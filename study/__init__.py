"""An experiment: why are a few hundred masks enough?"""
