"""Templates to text, in the visitor's language; a site's own templates come before ours.

Jinja2 and Babel are loaded at the first page, not at import. Refuses to know which pages there are.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..assets import TEMPLATES
from ..consent import Consent
from ..decision import Decision, honoured
from ..i18n import Texts
from ..site import Site
from .files import Files

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Templating"]


class Templating:
    """The templates of one site, with what all of them are given."""

    def __init__(self, site: Site, files: Files) -> None:
        self._site = site
        self._files = files
        #: the words of each language
        self.texts = Texts()

    @cached_property
    def environment(self) -> Environment:
        """Where templates come from and how they are read."""
        from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

        own = self._site.settings.templates
        loaders = [FileSystemLoader(path) for path in (own, TEMPLATES) if path is not None]
        return Environment(
            loader=ChoiceLoader(loaders),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )

    def page(self, name: str, consent: Consent, **values: Any) -> bytes:
        """A whole page of ours, from the template of this name."""
        base = consent.url()
        home = base.removesuffix(self._site.settings.prefix) + "/"
        css = self.file(base, "privacy.css")
        values = {"saved": False, **values}
        sheet = self._site.settings.stylesheet
        stylesheet = base.removesuffix(self._site.settings.prefix) + sheet if sheet else ""
        return self.render(name, base, consent.decision, home=home, css=css, stylesheet=stylesheet, **values).encode()

    def render(self, name: str, base: str, decision: Decision, **values: Any) -> str:
        """A piece of a page, from the template of this name."""
        texts = self.texts.for_language(decision.language)
        known = self._site.listening.signals
        return self.environment.get_template(name).render(
            _=texts.gettext,
            ngettext=texts.ngettext,
            lang=decision.language,
            dir=texts.direction,
            site_name=self._site.settings.site_name,
            base=base,
            gpc=decision.gpc,
            honored=honoured(self._site.catalogue, decision),
            partly=bool(decision.overridden),
            signal=next((known[key].name for key in decision.signals if key in known), ""),
            **values,
        )

    def file(self, base: str, name: str) -> str:
        """The address of a static file of ours."""
        return f"{base}/static/{self._files.names[name]}"
