"""The window that shows stimuli: frames painted at the screen's rate, markers at the flip."""
