"""The retry decision, in the type of an error."""


class PermanentError(Exception):
    """Trying again does not help: somebody has to change something, and the message says what.

    Every other exception may pass by itself (a connection lost, a server restarting), and its task is tried again.
    """
