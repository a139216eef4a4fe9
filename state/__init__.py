"""Vocabulary and memory: events, signals, ids, settings, Postgres, Redis. Imports nothing of ours."""
