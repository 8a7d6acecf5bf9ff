"""Encoders, priors, generators, training, evaluation: the only place with torch."""
