"""What can stand in the way of starting; each message is a sentence that says what to do.

EmbeddedError
├── DataDirError            the data folder cannot be used
│   ├── DataDirLocked       another run has it
│   ├── DataDirVersion      another release made it
│   └── DiskFull            too little room is left
├── JarError                the broker's jars are not to be had
│   ├── JarMismatch         one is not the locked one
│   └── RegistryUnreachable no network, or no Maven registry at its end
├── JavaMissing             no Java runtime for this machine
├── PortInUse               the wanted port is taken
└── StartError              a server did not come up
"""


class EmbeddedError(Exception):
    """The embedded servers cannot be started."""


class DataDirError(EmbeddedError):
    """The data folder cannot be used."""


class DataDirLocked(DataDirError):
    """Another run works on the data folder."""


class DataDirVersion(DataDirError):
    """The data folder was made by a release whose data this one cannot read."""


class DiskFull(DataDirError):
    """Too little room is left on the disk."""


class JarError(EmbeddedError):
    """The broker's jars are not to be had."""


class JarMismatch(JarError):
    """A jar is not the one that the committed lock names."""


class RegistryUnreachable(JarError):
    """The Maven registry does not answer."""


class JavaMissing(EmbeddedError):
    """There is no Java runtime for this machine."""


class PortInUse(EmbeddedError):
    """The wanted port is taken."""


class StartError(EmbeddedError):
    """A server did not come up."""
