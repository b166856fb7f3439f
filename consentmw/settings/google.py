"""Options about Google: consent mode, its tags in pages, and events sent from the server.

Refuses to know any other service.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, Field

__all__ = ["GoogleOptions"]

#: an address without a query; plain http only to this machine, where a proxy may stand beside the server
_COLLECTOR: Final = (
    r"^((https://[A-Za-z0-9.-]+|http://(127\.0\.0\.1|localhost|\[::1\]))(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?)?$"
)


class GoogleOptions(BaseModel):
    """Google Analytics, Tag Manager and Ads."""

    # -- Google --------------------------------------------------------------------------------
    #: basic: nothing of Google's loads before the choice; advanced: its consent-aware tags may load before it, with
    #: everything denied, and send pings without cookies. A refusal and Global Privacy Control hold in both.
    google_mode: Literal["basic", "advanced"] = "basic"
    #: measurement id of the site's Analytics property: switched off in the page itself while analytics is denied
    google_analytics: str = Field(default="", pattern=r"^(G-[A-Z0-9]{4,16})?$")
    #: id of the site's Tag Manager container
    google_tag_manager: str = Field(default="", pattern=r"^(GTM-[A-Z0-9]{4,12})?$")
    #: whether the tags of these two ids are written into pages that don't have them
    google_insert: bool = True
    #: whether a container may run nothing but Google's own tags while some purpose of the page is denied: what it
    #: loads no server can see
    google_restrict_containers: bool = True
    #: whether events of the host application are sent to Google from the server, and where Google collects them
    google_relay: Literal["off", "eu", "global"] = "off"
    #: whether page views are sent, too: for a site whose pages have no Google tag, or each would count twice
    google_relay_pages: bool = False
    #: address of a proxy that takes the events in Google's stead; "" sends them to the region of google_relay
    google_relay_endpoint: str = Field(default="", pattern=_COLLECTOR)
