"""Reports that browsers send by themselves go to no service without consent, and no policy is weakened."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw.gate.html import Rules
from consentmw.gate.reporting import filter_reporting
from consentmw.purposes import Catalogue

from .asgi import App, header, html, http_scope, response, run, values
from .mounted import PAGE, choice_cookie, mounted

CATALOGUE = Catalogue.load()
RULES = Rules(CATALOGUE, frozenset(CATALOGUE.services))
SENTRY = "https://o1.ingest.sentry.io/api/1/security/?sentry_key=a"


def left(name: str, value: str) -> str | None:
    """What is left of one header; None when nothing is."""
    kept, changed = filter_reporting([(name.encode(), value.encode())], RULES)
    assert changed == (kept != [(name.encode(), value.encode())])
    return kept[0][1].decode() if kept else None


@pytest.mark.parametrize("name", ["Content-Security-Policy", "content-security-policy-report-only"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"default-src 'self'; report-uri {SENTRY}", "default-src 'self'"),
        (
            f"default-src 'self'; REPORT-URI\t/csp {SENTRY}; img-src *;",
            "default-src 'self'; REPORT-URI /csp; img-src *;",
        ),
        (f"report-uri {SENTRY}", None),
        (f"a b;report-uri {SENTRY}, c d", "a b, c d"),
        ("report-uri https://x&sol@o1.ingest.sentry.io/", None),
        ("default-src 'self'; report-uri /csp;; x", "default-src 'self'; report-uri /csp;; x"),
        (f"connect-src {SENTRY}", f"connect-src {SENTRY}"),
        (f"x-report-uri {SENTRY}", f"x-report-uri {SENTRY}"),
        ("", ""),
    ],
)
def test_a_policy_loses_the_addresses_and_nothing_else(name: str, value: str, expected: str | None) -> None:
    assert left(name, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f'a="{SENTRY}"', None),
        (f'a="/own", b="{SENTRY}";x=1, c="https://own.example/r"', 'a="/own", c="https://own.example/r"'),
        ('a="/own"', 'a="/own"'),
        (f"a={SENTRY}", None),
        (f'a="/own", b="{SENTRY}', None),
        ("garbage, here", "garbage, here"),
    ],
)
def test_endpoints_at_denied_services_are_taken_out(value: str, expected: str | None) -> None:
    """What is no dictionary is ignored by browsers; if it names a service it goes whole, to be sure."""
    assert left("reporting-endpoints", value) == expected


def group(*urls: str, name: str = "g") -> str:
    return json.dumps({"group": name, "max_age": 99, "endpoints": [{"url": url} for url in urls]})


def test_a_group_that_a_browser_keeps_is_ended() -> None:
    """Left out it would live on for its max_age: with none, browsers delete it."""
    found = json.loads(f"[{left('Report-To', group(SENTRY) + ', ' + group('/own', SENTRY, name='h'))}]")
    assert found == [
        {"group": "g", "max_age": 0, "endpoints": []},
        {"group": "h", "max_age": 99, "endpoints": [{"url": "/own"}]},
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (group("https://own.example/r"), group("https://own.example/r")),
        (group(SENTRY).replace("sentry", "\\u0073entry"), '{"group":"g","max_age":0,"endpoints":[]}'),
        (f"{{'group':'{SENTRY}'}}", None),
        (f'["{SENTRY}"]', None),
        (f'{{"endpoints":"{SENTRY}"}}', None),
        ("[" * 3000 + SENTRY, None),
        ("garbage", "garbage"),
    ],
)
def test_report_to_is_read_as_json(value: str, expected: str | None) -> None:
    """Escapes hide no host; what can't be read and names a service goes whole."""
    assert left("report-to", value) == expected


async def test_reports_to_the_site_itself_stay_and_ours_are_added() -> None:
    site = mounted(
        App(*html(PAGE, headers=[("reporting-endpoints", f'a="/own", b="{SENTRY}"')])),
        policy="enforce",
        services_used=["sentry"],
    )
    sent = await run(site, http_scope(scheme="https"))
    assert values(sent, "reporting-endpoints") == ['a="/own"', 'consentmw="/privacy/csp"']


async def test_what_is_no_page_reports_to_no_service_either() -> None:
    """Failed connections are reported for every answer (Network Error Logging)."""
    nel = '{"report_to":"g","max_age":99}'
    app = App(
        *response(b"{}", headers=[("content-type", "application/json"), ("report-to", group(SENTRY)), ("nel", nel)])
    )
    sent = await run(mounted(app), http_scope())
    assert header(sent, "report-to") == '{"group":"g","max_age":0,"endpoints":[]}'
    assert header(sent, "nel") == nel


async def test_who_allowed_the_service_reports_to_it() -> None:
    site = mounted(App(*response(b"{}", headers=[("content-type", "application/json"), ("report-to", group(SENTRY))])))
    everything = [("cookie", choice_cookie(site, *site.site.catalogue.purposes))]
    assert header(await run(site, http_scope(headers=everything)), "report-to") == group(SENTRY)


@given(
    st.sampled_from([b"Report-To", b"reporting-endpoints", b"content-security-policy"]),
    st.text('a="\\\\,;{}[]: /report-uri', max_size=50),
    st.booleans(),
)
def test_no_value_breaks_it(name: bytes, value: str, named: bool) -> None:
    """Hostile input: what names nobody stays byte for byte."""
    raw = value.encode() + (SENTRY.encode() if named else b"")
    kept, changed = filter_reporting([(name, raw)], RULES)
    assert named or (kept, changed) == ([(name, raw)], False)
