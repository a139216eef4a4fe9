"""Decisions: rules, metrics, anomaly scores, the router. Knows nothing of Bytewax; clients are passed in."""
