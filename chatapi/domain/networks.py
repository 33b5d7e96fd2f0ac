"""Networks: the unit that every limit per address counts.

One customer gets a whole IPv6 /64, so a single IPv6 address says nothing: the /64 counts
like one IPv4 address, and all networks of a /48 together count up to SITE_FACTOR times that.
"""

from __future__ import annotations

import functools
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

# A /48 is one organisation, or a provider's pool that gives each phone a /64.
SITE_FACTOR = 16
NAT64 = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = IPv6Network("2002::/16")


class Network(NamedTuple):
    """The network of an address.

    name -- an IPv4 address, or an IPv6 /64. site -- the /48 around an IPv6 network.
    """

    name: str
    site: str | None = None

    def counters(self, most: int) -> list[tuple[str, int]]:
        """Return what to count, each with how many there may be if a network may have `most`."""
        if self.site is None:
            return [(self.name, most)]
        return [(self.name, most), (self.site, most * SITE_FACTOR)]


# A connection over a Unix socket has no address; everything behind it counts as one.
UNIX_SOCKET = Network("unix")


@functools.lru_cache(maxsize=16_384)
def network_of(address: str) -> Network:
    """Return the network of a client's address. Raises ValueError if it is not an address.

    An IPv4 address written as IPv6 (mapped, NAT64, 6to4) is the IPv4 address. Some proxies
    append the client's port; it does not count.
    """
    if not address:
        return UNIX_SOCKET
    parsed = ip_address(_without_port(address))
    if isinstance(parsed, IPv4Address):
        return Network(str(parsed))
    ipv4 = _ipv4_inside(parsed)
    if ipv4 is not None:
        return Network(str(ipv4))
    number = int(parsed)
    return Network(
        f"{IPv6Address(number >> 64 << 64)}/64",
        f"{IPv6Address(number >> 80 << 80)}/48",
    )


def network_in(environ: dict[str, Any]) -> Network:
    """Return the network in a WSGI environment; one for all clients whose address is none."""
    try:
        return network_of(environ.get("REMOTE_ADDR") or "")
    except ValueError:
        return Network("no address")


def _without_port(address: str) -> str:
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or (rest and not (rest.startswith(":") and rest[1:].isdecimal())):
            raise ValueError(f"{address!r} is not an address.")
        return host
    host, colon, port = address.partition(":")
    return host if colon and port.isdecimal() and "." in host else address


def _ipv4_inside(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour if address in SIX_TO_FOUR else None
