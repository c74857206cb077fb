"""The one exception a user should ever read: what came, what was expected, what to do."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says how to mend it (the command line exits with 2)."""
