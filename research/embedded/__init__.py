"""How the embedded weights were made: one module a step, each runnable with `python -m`."""
