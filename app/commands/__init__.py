"""One file a command; heavy imports happen inside the command that needs them."""
