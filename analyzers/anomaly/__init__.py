"""Anomaly scores: how unusual is this value of this metric on this host. Two verbs: score, then learn."""
