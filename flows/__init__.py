"""Graphs and the application: detect, replay, traffic, settings, command line."""
