"""What runs inside the peers' own environments. Nothing here imports Winnow, nor is imported by it."""
