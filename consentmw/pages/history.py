"""The pages about the notice's versions: which there were, what changed, and what each of them said.

Refuses to change anything, but for one: what is shown as being in force is published first.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from anyio.to_thread import run_sync

from ..consent import Consent
from ..errors import LedgerError
from ..notices import to_html
from ..site import Site
from ..versions import Version, changes, reworded
from .documents import Documents
from .exchange import Exchange
from .templating import Templating

__all__ = ["History"]

logger = logging.getLogger("consentmw")


class History:
    """Answers ``history`` and ``history/<id>``."""

    def __init__(
        self,
        site: Site,
        templating: Templating,
        documents: Documents,
        missing: Callable[[Exchange], Awaitable[None]],
    ) -> None:
        self._registry = site.registry
        self._templating = templating
        self._documents = documents
        self._missing = missing

    async def answer(self, exchange: Exchange) -> None:
        """GET history: all versions, newest first. GET history/<id>: the text of one, as it was."""
        if not self._registry.loaded:
            try:
                await run_sync(self._registry.publish)
            except LedgerError:
                logger.exception("the versions of the notice could not be read")
                page = self._documents.problem(
                    exchange.consent, "The earlier versions can't be read just now. Please try again."
                )
                await exchange.html(page, status=503)
                return
        if not exchange.rest:
            await exchange.html(self._index(exchange.consent))
        elif (version := self._registry.find(exchange.rest)) is None:
            await self._missing(exchange)
        else:
            await exchange.html(self._version(exchange.consent, version))

    def _index(self, consent: Consent) -> bytes:
        steps = [self._step(consent.language, version) for version in reversed(self._registry.versions)]
        return self._templating.page("notice_history.html", consent, here="-", steps=steps)

    def _step(self, language: str, version: Version) -> dict[str, Any]:
        """What the list says of a version."""
        texts = self._templating.texts
        before = self._registry.before(version)
        return {
            **self._known(language, version),
            "first": before is None,
            "material": before is not None and before.fingerprint != version.fingerprint,
            "changes": [one.text for one in changes(before.snapshot, version.snapshot, language)] if before else [],
            "reworded": [
                texts.for_language(tag).name for tag in (reworded(before.snapshot, version.snapshot) if before else ())
            ],
        }

    def _known(self, language: str, version: Version) -> dict[str, Any]:
        texts = self._templating.texts.for_language(language)
        return {
            "id": version.id,
            "updated": texts.date(version.snapshot.updated),
            "published": texts.date(version.at.date()) if version.at is not None else "",
            "in_force": version.id == self._registry.current.id,
        }

    def _version(self, consent: Consent, version: Version) -> bytes:
        from markupsafe import Markup

        text, language = version.snapshot.text(consent.language)
        return self._templating.page(
            "notice_version.html",
            consent,
            here="-",
            body=Markup(to_html(text, version.snapshot.pages, escape(consent.url()))),  # noqa: S704 - sanitised there
            notice_lang=language,
            **self._known(consent.language, version),
        )
