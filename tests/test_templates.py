"""A site's own templates: one that can't be rendered or that a law forbids stops the start; what is weak is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentmw import SettingsError
from consentmw.assets import TEMPLATES
from consentmw.pages.offered import Offered

from .asgi import App
from .mounted import mounted
from .test_cli import consentmw

IOWA = ({"code": "US-IA", "label": "IOWA"},)
#: settings under which no visitor meets a regime that asks first
OPT_OUT: dict[str, Any] = {"fallback_regime": "opt_out", "region_choices": IOWA}

ACCEPT = (
    '<button class="cmw-b" name="action" value="accept" data-consentmw-action="accept">{{ _("Accept all") }}</button>'
)
REJECT = (
    '<button class="cmw-b" name="action" value="reject" data-consentmw-action="reject">{{ _("Reject all") }}</button>'
)
SAVE = '<button class="cmw-b" name="action" value="save" data-consentmw-action="save">'
OPT = '<button class="cmw-b" name="action" value="opt_out" data-consentmw-action="opt_out">{{ _("Opt out") }}</button>'
CHOOSE = '<a class="cmw-b cmw-more" href="{{ base }}/choices" data-consentmw-action="choose">{{ _("Choose") }}</a>'
NOTICE = '<a href="{{ base }}">{{ _("Privacy Policy") }}</a>'
TICKED = "{% if purpose.granted %} checked{% endif %}"

Own = Callable[..., Path]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """Makes a folder with one of our templates, changed: pairs of what stood there and what stands there now."""

    def make(name: str, *changes: tuple[str, str]) -> Path:
        text = (TEMPLATES / name).read_text("utf-8")
        for before, after in changes:
            assert before in text, f"{name} no longer holds {before!r}"
            text = text.replace(before, after)
        (tmp_path / name).write_text(text, "utf-8")
        return tmp_path

    return make


def refused(folder: Path, **options: Any) -> str:
    """What a start with these templates says when it is refused."""
    with pytest.raises(SettingsError) as caught:
        mounted(App(), templates=folder, **options)
    return str(caught.value)


def said(folder: Path, **options: Any) -> dict[str, str]:
    """The warnings of a start with these templates, by rule."""
    return {finding.rule: finding.key for finding in mounted(App(), templates=folder, **options).pages.warnings}


# -- what is lawful --------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, OPT_OUT, {"region_headers": "cloudflare", "google_mode": "advanced"}])
def test_our_own_templates_hold_every_rule(tmp_path: Path, options: dict[str, Any]) -> None:
    """Copied into a folder of a site's own, they are looked at like any: a rule that we break shows here."""
    shutil.copytree(TEMPLATES, tmp_path / "own")
    assert said(tmp_path / "own", languages=("en", "es"), **options) == {}


@pytest.mark.parametrize("name", sorted(path.name for path in TEMPLATES.glob("*.html")))
def test_a_word_that_nobody_gives_stops_the_start_in_every_template(tmp_path: Path, name: str) -> None:
    """A page that was left out would meet its first visitor unproven."""
    text = (TEMPLATES / name).read_text("utf-8")
    main = "{% block main %}"
    before, main, after = text.partition(main) if main in text else ("", "", text)
    broken = before + main + "{% if lost_word %}{% endif %}" + after
    (tmp_path / name).write_text(broken, "utf-8")
    line = broken[: broken.index("lost_word")].count("\n") + 1
    assert f"{name}, line {line}: nothing here is called 'lost_word'" in refused(tmp_path)


def test_a_site_without_templates_of_its_own_looks_at_none() -> None:
    assert mounted(App()).pages.warnings == []


def test_a_folder_without_our_names_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("{% if", "utf-8")
    assert said(tmp_path) == {}


# -- what a law forbids ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "changes", "rule", "source"),
    [
        ("banner.html", [(REJECT, "")], "reject on the first layer", "Taskforce A"),
        ("banner.html", [(REJECT, f"<details><summary>More</summary>{REJECT}</details>")], "reject on the first", "A"),
        ("banner.html", [(REJECT, f"<div hidden>{REJECT}</div>")], "reject on the first layer", "Taskforce A"),
        ("banner.html", [(REJECT, f'<p style="display:none">{REJECT}</p>')], "reject on the first layer", "A"),
        ("banner.html", [(REJECT, REJECT.replace("<button", "<button disabled"))], "reject on the first layer", "A"),
        ("banner.html", [(REJECT, REJECT.replace("<button", '<button type="button"'))], "reject on the first", "C"),
        (
            "banner.html",
            [(REJECT, '<a data-consentmw-action="reject" href="{{ base }}/choices">No</a>')],
            "reject on the first layer",
            "Taskforce C",
        ),
        ("banner.html", [(REJECT, REJECT.replace('value="reject"', 'value="accept"'))], "does what it says", "4(11)"),
        ("banner.html", [(NOTICE, "")], "informed", "GDPR art. 4(11), 13"),
        ("banner.html", [(CHOOSE, "")], "a choice for each purpose", "GDPR"),
        ("banner.html", [('value="accept"', 'value="yes"')], "an answer arrives", "docs/pages.md"),
        ("banner.html", [('action="{{ base }}/choices"', 'action="{{ base }}/consent"')], "an answer arrives", "pages"),
        ("banner.html", [('action="{{ base }}/choices"', 'action="https://x.example/"')], "an answer arrives", "pages"),
        ("banner.html", [('method="post" action="{{ base }}/choices"', 'action="{{ base }}/choices"')], "arrives", "p"),
        (
            "banner.html",
            [(ACCEPT, ACCEPT + '<input type="checkbox" name="purpose" value="advertising" checked>')],
            "no pre-ticked purpose",
            "Planet49",
        ),
        ("choices.html", [(TICKED, " checked")], "no pre-ticked purpose", "Planet49"),
        ("choices.html", [('type="checkbox"', 'type="hidden"')], "no pre-ticked purpose", "Planet49"),
        ("choices.html", [('name="purpose"', 'name="x"')], "a choice for each purpose", "GDPR"),
        ("choices.html", [(SAVE, "<button>")], "a choice for each purpose", "GDPR"),
        ("choices.html", [(REJECT, ""), ('value="withdraw"', 'value="save"')], "withdrawal", "7(3)"),
        ("opt_out.html", [('value="opt_out" data', 'value="out" data')], "an answer arrives", "docs/pages.md"),
        ("locale.html", [('action="{{ base }}/locale"', 'action="{{ base }}/region"')], "an answer arrives", "pages"),
    ],
)  # fmt: skip
def test_what_a_regime_forbids_stops_the_start(
    own: Own, name: str, changes: list[tuple[str, str]], rule: str, source: str
) -> None:
    text = refused(own(name, *changes))
    assert text.startswith(f"templates.{name}: ")
    assert rule in text
    assert source in text


def test_under_opt_out_alone_less_is_forbidden_and_more_is_not(own: Own) -> None:
    """Where nothing asks first, a missing refusal is asymmetry, said and not refused; a missing opt-out is refused."""
    assert said(own("banner.html", (REJECT, "")), **OPT_OUT) == {"reject on the first layer": "templates.banner.html"}
    assert "symmetry" in str(mounted(App(), templates=own("banner.html", (REJECT, "")), **OPT_OUT).pages.warnings[0])


def test_a_page_that_runs_advertising_has_a_way_to_end_it(own: Own) -> None:
    folder = own("opt_out.html", (OPT, ""))
    assert "a way to opt out" in refused(folder, **OPT_OUT)
    assert said(folder) == {"a way to opt out": "templates.opt_out.html"}, "after a yes, under a regime that asks first"


def test_everything_that_is_forbidden_is_said_at_once(own: Own) -> None:
    text = refused(own("banner.html", (REJECT, ""), (NOTICE, "")))
    assert "reject on the first layer" in text
    assert "informed" in text


# -- what is weak ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "changes", "rule"),
    [
        ("banner.html", [(REJECT, REJECT.replace("cmw-b", "cmw-b cmw-more"))], "equal prominence"),
        ("banner.html", [(REJECT, '<input type="submit" class="cmw-b" name="action" value="reject">')], "equal"),
        ("banner.html", [(' data-consentmw-action="reject"', "")], "marked buttons"),
        ("banner.html", [("h2", "p")], "a heading"),
        ("banner.html", [(NOTICE, '<a href="/legal/privacy">Privacy</a>')], "informed"),
        ("banner.html", [('id="consentmw"', 'id="ours"')], "marked banner"),
        ("banner.html", [(CHOOSE, f'{{% if lang == "en" %}}{SAVE}</button>{{% endif %}}{CHOOSE}')], "the same"),
        ("foot.html", [('<a href="{{ base }}/choices">{{ _("Privacy choices") }}</a>', "")], "withdrawal as easy"),
    ],
)  # fmt: skip
def test_what_is_weak_is_said_and_works(own: Own, name: str, changes: list[tuple[str, str]], rule: str) -> None:
    found = said(own(name, *changes), languages=("en", "es"))
    assert [key for what, key in found.items() if what.startswith(rule)] == [f"templates.{name}"]


# -- what can't be rendered ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("banner.html", "one\n{% if x %}", "banner.html, line 2"),
        ("banner.html", "one\ntwo\n{{ nobody_gives_this }}", "banner.html, line 3"),
        ("choices.html", "{{ base.nothing.at_all }}", "choices.html, line 1"),
        ("receipt.html", '{% include "missing.html" %}', "missing.html"),
        ("problem.html", "{{ 1 / 0 }}", "division"),
        ("foot.html", "{% extends 'foot.html' %}", "foot.html"),
        ("part.html", "{% for %}", "part.html, line 1"),
        ("page.html", "\n{% block main %}{{ nonsense }}{% endblock %}{{ lost }}", "page.html, line 2"),
    ],
)
def test_what_cannot_be_rendered_stops_the_start_with_file_and_line(
    tmp_path: Path, name: str, text: str, names: str
) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert names in refused(tmp_path)


def test_bytes_that_are_no_text_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "banner.html").write_bytes(b"\xff\xfe{{ x }}")
    assert "banner.html" in refused(tmp_path)


def test_the_part_that_is_wrong_is_named_and_not_who_includes_it(own: Own) -> None:
    folder = own("banner.html", (REJECT, REJECT + '{% include "part.html" %}'))
    (folder / "part.html").write_text("\n\n{{ unknown_word }}", "utf-8")
    assert "part.html, line 3" in refused(folder)


# -- the command -----------------------------------------------------------------------------------
def test_check_explains_each_finding(tmp_path: Path, own: Own) -> None:
    folder = own("banner.html", (REJECT, ""))
    file = tmp_path / "consent.toml"
    file.write_text(f'debug = true\nstore = "memory:"\ntemplates = "{folder}"', "utf-8")
    done = consentmw("check", file)
    assert done.returncode == 1
    assert "reject on the first layer" in done.stderr
    assert "Traceback" not in done.stderr
    own("banner.html", ("h2", "p"))
    done = consentmw("check", file)
    assert done.returncode == 0, done.stderr
    assert "weak: templates.banner.html" in done.stdout
    assert "WCAG" in done.stdout


# -- the reader ------------------------------------------------------------------------------------
@given(st.text(alphabet="<>/=\"' abdefhimnoprstuv&-!", max_size=200))
def test_nothing_that_a_template_makes_breaks_the_reader(html: str) -> None:
    offered = Offered(html)
    assert len(offered.buttons) <= html.count("<")


def test_the_reader_follows_forms_as_browsers_do() -> None:
    offered = Offered(
        "<form id=a action=/x method=POST><button name=n value=v>1</button><button formaction=/y formmethod=get>2"
        '</button></form><button form=a>3</button><input type=submit><button type=reset>4</button><a href="#">5</a>'
        "<template><button>6</button></template><button data-consentmw-action=choose type=button>7</button>"
    )
    forms = [(button.element, button.form and (button.form.action, button.form.method)) for button in offered.buttons]
    assert forms == [
        ("button", ("/x", "post")),
        ("button", ("/y", "get")),
        ("button", ("/x", "post")),
        ("input", None),
        ("button", None),
    ]
    assert offered.links == {"#"}


def test_of_two_attributes_of_one_name_the_first_counts() -> None:
    (button,) = Offered('<form action="/a" action="/b"><button value="1" value="2">x</button></form>').buttons
    assert (button.value, button.form and button.form.action) == ("1", "/a")


def test_an_action_may_stand_in_a_hidden_field() -> None:
    html = '<form action="/privacy/choices" method="post"><input type="hidden" name="action" value="reject">'
    (button,) = Offered(f'{html}<button data-consentmw-action="reject">No</button></form>').buttons
    assert (button.name, button.value) == ("action", "reject")
    (button,) = Offered(f'{html}<button name="action" value="accept">Yes</button></form>').buttons
    assert button.value == "accept", "what is pressed comes later in the form"
