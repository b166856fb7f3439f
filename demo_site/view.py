"""One page of the site as HTML: the template, the words in the visitor's language, the place they stated.

Knows templates. Refuses to know what consent is: it reads a language and a region from
``scope["consent"]`` and nothing else.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Final

from babel.dates import format_date
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from . import content

__all__ = ["render", "url"]

_TEMPLATES: Final = Path(__file__).parent / "templates"


def url(request: Request, name: str, **params: str) -> str:
    """The path of a page, under whatever prefix the site is mounted."""
    # Not request.url_for: under a mount it asks the outermost router, which does not know our pages.
    prefix: str = request.scope.get("root_path", "")
    return prefix.rstrip("/") + str(request.app.url_path_for(name, **params))


@pass_context
def _url(context: Context, name: str, **params: str) -> str:
    return url(context["request"], name, **params)


@pass_context
def _day(context: Context, iso: str) -> str:
    """A day written out in the visitor's language."""
    return format_date(date.fromisoformat(iso), "long", locale=context["lang"].replace("-", "_"))


_environment = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["url"] = _url
_environment.filters["day"] = _day
_templates = Jinja2Templates(env=_environment)


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """A page in the site's design. Raises jinja2.UndefinedError when a template asks for what is not there."""
    consent = request.scope["consent"]
    words = content.texts(consent.language)
    shared = {
        "t": words,
        "lang": consent.language or "en",
        "places": content.places(consent.region),
        "region": consent.region,
        # The header's language and region link goes to the page that consentmw brings along.
        "locale_url": consent.url("locale"),
        # A failed request may not have come as far as its session.
        "account": request.scope.get("session", {}).get("account", ""),
        "page": template.removesuffix(".html"),
    }
    return _templates.TemplateResponse(request, template, {**shared, **context}, status_code=status)
