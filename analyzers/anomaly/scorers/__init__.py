"""Scorers of one metric: estimators of River's with a small state that can be stored. ``registry`` finds them."""
