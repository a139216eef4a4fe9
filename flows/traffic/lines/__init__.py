"""Writers of raw messages, one module a real format."""
