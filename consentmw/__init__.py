"""consentmw keeps a website's privacy promises on the server.

The rooms, in the order a request passes them:

- ``middleware`` composes all others: request → who is asking → what may run → what the response
  may carry → what may be recorded → what is proven
- who is asking: ``visitor``, ``proxies``, ``whereabouts``, ``regions``, ``i18n``
- what may run: ``purposes``, ``choice``, ``signals``, ``standing``, ``decision``; ``consent`` is what a host
  application holds; ``gpp`` and ``consentmode`` word the decision for vendors
- what the response may carry: ``gate``, ``pages``, ``notices``
- what may be recorded: ``events``, ``tokens``, ``mail``, ``recipients``, ``recorder``, ``relay``, ``stores``
- what is proven: ``ledger``, ``chain``, ``checkpoints``, ``receipts``, ``versions``, ``registry``, ``authorizations``
- around them: ``settings`` (every option), ``lawful`` (what laws say of them), ``site`` (the options,
  compiled), ``errors``, ``cli``
"""

from .consent import Consent
from .decision import Decision, Verdict
from .errors import CatalogueError, ConsentError, LedgerError, SettingsError, StoreError
from .middleware import ConsentMiddleware
from .purposes import Purpose, Service
from .settings import Settings
from .signals import Signal

__all__ = [
    "CatalogueError",
    "Consent",
    "ConsentError",
    "ConsentMiddleware",
    "Decision",
    "LedgerError",
    "Purpose",
    "Service",
    "Settings",
    "SettingsError",
    "Signal",
    "StoreError",
    "Verdict",
]

__version__ = "0.1.0"
