"""Which lane judges an event: rules, the text model or an LLM; why, at what cost, and with what error. Pure."""
