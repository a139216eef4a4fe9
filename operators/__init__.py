"""Bytewax steps, and what surrounds them: Kafka and files, formats, sinks."""
