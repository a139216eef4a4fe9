"""Training of the text judge: grammars, data, model, report. Nothing that serves imports it."""
