"""Every error that cellnet raises on purpose.

Each message says what was given, why it is wrong, and what to type next. The command line prints the
message alone; only an error that is *not* one of these shows a traceback.
"""


class CellnetError(Exception):
    """Base of all cellnet errors: catch this one to catch them all."""


class UnknownNameError(CellnetError):
    """A name that no registry, schema or option list knows."""


class ConfigError(CellnetError):
    """An option or configuration value that cannot be used."""


class DataError(CellnetError):
    """A folder, file or table of images that cannot be used as asked."""


class ImageError(DataError):
    """One image that cannot be decoded; the message names the file."""


class LabelError(CellnetError):
    """Labels that do not fit together: unknown classes, or two different schemas."""


class WeightsError(CellnetError):
    """A weights file or checkpoint folder that is missing, foreign or damaged."""
