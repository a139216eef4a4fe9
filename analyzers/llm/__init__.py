"""The LLM lane: what a model is asked of an escalated event, and what of its answer is believed."""
