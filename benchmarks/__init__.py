"""Measures, side by side with peers in one run. Nothing imports them."""
