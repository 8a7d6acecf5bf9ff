"""Encoders, priors, generators, training, evaluation: the only place with torch."""

import os

# diffusers and transformers advise developers on standard error, in the middle of a person's
# command (such as to install accelerate, which gains nothing with weights of our size). They read
# these at their first import; who sets them, to `warning`, reads it all.
for _name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
    os.environ.setdefault(_name, "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
