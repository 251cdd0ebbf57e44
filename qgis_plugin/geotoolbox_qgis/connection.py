"""QGIS's own connection to the network: its proxy, its certificates."""

from __future__ import annotations

import os
from typing import Dict, Mapping, Optional
from urllib.parse import quote

from qgis.core import QgsBlockingNetworkRequest, QgsFeedback, QgsSettings
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtNetwork import QNetworkRequest

from .runner import Cancelled, EngineError

__all__ = ["fetch", "tool_variables"]

_KINDS = {"HttpProxy": "http", "HttpCachingProxy": "http", "Socks5Proxy": "socks5"}


def fetch(address: str, feedback: Optional[QgsFeedback] = None) -> bytes:
    """Get an address.

    Raises:
        EngineError: With the reason.
        Cancelled: When the person stopped it.
    """
    request = QgsBlockingNetworkRequest()
    code = request.get(QNetworkRequest(QUrl(address)), True, feedback)
    if feedback is not None and feedback.isCanceled():
        raise Cancelled("")
    if code != QgsBlockingNetworkRequest.ErrorCode.NoError:
        raise EngineError(f"{address} cannot be reached: {request.errorMessage()}.")
    return bytes(request.reply().content())


def tool_variables(variables: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return variables for pip and uv: QGIS's proxy where none is set, and the certificates that the system trusts."""
    found = os.environ if variables is None else variables
    made = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    proxy = _proxy()
    if proxy and not any(name.upper() in ("HTTPS_PROXY", "ALL_PROXY") for name in found):
        made |= {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
    return made


def _proxy() -> str:
    """Return the proxy of Settings > Options > Network; empty where there is none."""
    settings = QgsSettings()
    kind = _KINDS.get(str(settings.value("proxy/proxyType", "")))
    host = str(settings.value("proxy/proxyHost", "") or "")
    if not (kind and host and settings.value("proxy/proxyEnabled", False, type=bool)):
        return ""
    port = str(settings.value("proxy/proxyPort", "") or "")
    user, secret = (str(settings.value(f"proxy/proxy{part}", "") or "") for part in ("User", "Password"))
    person = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if user else ""
    return f"{kind}://{person}{host}" + (f":{port}" if port else "")
