"""The network of an address, which every limit per address counts."""

from __future__ import annotations

import pytest

from chatapi.domain.networks import SITE_FACTOR, network_of


@pytest.mark.parametrize(
    ("address", "name", "site"),
    [
        ("203.0.113.7", "203.0.113.7", None),
        ("203.0.113.7:52100", "203.0.113.7", None),
        ("::ffff:203.0.113.7", "203.0.113.7", None),
        ("[::ffff:203.0.113.7]:52100", "203.0.113.7", None),
        ("::ffff:cb00:7107", "203.0.113.7", None),
        ("64:ff9b::203.0.113.7", "203.0.113.7", None),
        ("2002:cb00:7107:1::9", "203.0.113.7", None),
        ("2001:db8:1:2::3", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("[2001:db8:1:2::3]", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("[2001:db8:1:2::3]:443", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("::1", "::/64", "::/48"),
        ("", "unix", None),
    ],
)
def test_the_network_of_an_address(address: str, name: str, site: str | None) -> None:
    assert network_of(address) == (name, site)


@pytest.mark.parametrize(
    "garbage",
    [
        "unknown",
        "203.0.113",
        "203.0.113.7.8",
        "1.2.3.4:x",
        "[::1",
        "[::1]x",
        "_hidden",
        "::g",
        "1e3",
    ],
)
def test_what_is_no_address_is_refused(garbage: str) -> None:
    with pytest.raises(ValueError, match="address"):
        network_of(garbage)


def test_the_site_around_a_network_has_a_looser_count() -> None:
    assert network_of("203.0.113.7").counters(5) == [("203.0.113.7", 5)]
    assert network_of("2001:db8:1:2::3").counters(5) == [
        ("2001:db8:1:2::/64", 5),
        ("2001:db8:1::/48", 5 * SITE_FACTOR),
    ]
