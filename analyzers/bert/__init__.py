"""The text judge: a small encoder that says what a command line, HTTP parameter, script or name is."""
