"""Sigma correlations: how matches of rules add up, by group and in a window of event time. Pure; no Bytewax here."""
