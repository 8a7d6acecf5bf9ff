"""Published networks to measure against: none of them ships with weights or runs live."""
