"""What can stand in the way of starting; each message is a sentence that says what to do.

    EmbeddedError
    ├── DataDirError       in use, of another version, not writable, or its disk is full
    ├── JarError           a jar cannot be fetched or is not the locked one
    └── StartError         a server did not come up
"""


class EmbeddedError(Exception):
    """The embedded servers cannot be started."""


class DataDirError(EmbeddedError):
    """The data folder cannot be used."""


class JarError(EmbeddedError):
    """The broker's jars are not to be had, or not the locked ones."""


class StartError(EmbeddedError):
    """A server did not come up."""
