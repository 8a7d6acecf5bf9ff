"""The windows of attending: the warning, the flickering grid, and the picture that grows."""
