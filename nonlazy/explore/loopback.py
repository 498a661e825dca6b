"""Requests that name another host than this machine are refused: a page of the web may have its name lead here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler

HOSTS = ("localhost", "127.0.0.1")


class LoopbackOnly(AuthProvider):
    """Everybody who asks for this machine by its own name may come in; nobody logs in."""

    @property
    def get_user(self) -> Callable[[Any], Any]:
        return _check_host

    @property
    def login_url(self) -> str:
        return "/"


def _check_host(handler: RequestHandler) -> str:
    if handler.request.host_name not in HOSTS:
        raise HTTPError(403, reason="This page is served to this machine only")
    return "local"
