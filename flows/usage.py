"""What a user did wrong."""


class UsageError(Exception):
    """The input or its use is wrong; the message is the one line that the user sees."""
