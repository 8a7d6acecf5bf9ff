"""What a grid of flickering pictures shows and when, without Qt: frames, places, light, warning."""
