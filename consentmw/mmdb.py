"""A file of networks in the MaxMind DB format: opened once, on this machine, and asked by address.

Refuses to know what a record means: countries and providers are named differently by every publisher.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import SettingsError

__all__ = ["open_networks"]

logger = logging.getLogger("consentmw")


def open_networks(path: Path, option: str) -> Callable[[str], Any]:
    """What finds the record of an address, or None. Raises SettingsError, naming ``option``, for a file that is none.

    What is found is as the file has it, of any type: a publisher may have written anything.
    """
    try:
        # Imported here, because only sites with such a file need it.
        from maxminddb import InvalidDatabaseError, open_database
    except ImportError as error:
        raise SettingsError(option, "the package maxminddb: pip install 'consentmw[geo]'") from error
    try:
        reader = open_database(path)
    except (OSError, ValueError, InvalidDatabaseError) as error:
        raise SettingsError(option, f"an MMDB file that can be read ({error})") from error

    def find(address: str) -> Any:
        try:
            return reader.get(address)
        except (ValueError, OSError, InvalidDatabaseError):
            # An IPv6 address in a file of IPv4, or a file that was damaged under us.
            logger.warning("the file of %s could not be asked for an address", option, exc_info=True)
            return None

    return find
