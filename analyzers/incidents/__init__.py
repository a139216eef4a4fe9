"""Incidents: from what rules, scores and other systems say to a short queue, each entry explained."""
