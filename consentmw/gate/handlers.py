"""Attributes whose code runs without a visitor's doing: when something is loaded, fails, begins or is shown.

Code that waits for a click is not among them: what it does is the visitor's doing, too, and what it would
load then is the policy's affair. Refuses to know code, services and tags.
"""

from __future__ import annotations

from typing import Final

__all__ = ["HANDLERS"]

#: event handlers of HTML, of media, of SVG's animations and of marquee (HTML Standard, 8.1.8.2 and 16.3.1)
HANDLERS: Final = (
    b"onload onerror onabort onbegin onend onrepeat onloadstart onloadeddata onloadedmetadata onprogress onsuspend "
    b"onstalled onwaiting onemptied ondurationchange oncanplay oncanplaythrough onplay onplaying ontimeupdate onended "
    b"onfocus onfocusin ontoggle onpageshow onresize onscroll onhashchange onmessage onstart onbounce onfinish"
).split()
