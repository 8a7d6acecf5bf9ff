"""How the shipped image encoder was made: `collect`, then `train`; each runs with `python -m`."""
