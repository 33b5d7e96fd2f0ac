"""What the files for production promise. Whether the tools take them: docs/deployment.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import Config

DEPLOY = Path(__file__).parent.parent / "deploy"


@pytest.fixture
def unit() -> dict[str, str]:
    lines = (DEPLOY / "livechat.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


@pytest.fixture
def nginx() -> str:
    lines = (DEPLOY / "nginx.conf").read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def test_the_service_is_confined(unit: dict[str, str]) -> None:
    assert unit["SystemCallFilter"] == "@system-service"
    assert unit["ProtectProc"] == "invisible"
    assert unit["NoNewPrivileges"] == "true"
    assert unit["CapabilityBoundingSet"] == ""
    assert int(unit["TasksMax"]) >= 256
    assert re.fullmatch(r"\d+G", unit["MemoryMax"])


def test_the_proxy_limits_requests_and_connections_of_a_network(nginx: str) -> None:
    for kind, zone in (("conn", "livechat_connections"), ("req", "livechat_requests")):
        assert re.search(rf"limit_{kind}_zone \s*\$livechat_network zone={zone}:", nginx)
        assert re.search(rf"limit_{kind} (zone=)?{zone}\b", nginx)
        assert f"limit_{kind}_status 429;" in nginx
    connections = re.search(r"limit_conn livechat_connections (\d+);", nginx)
    assert connections
    # The application refuses first: its answer says why.
    assert int(connections[1]) > Config.STREAMS_PER_ADDRESS


def test_the_proxy_writes_no_query_string_into_its_access_log(nginx: str) -> None:
    servers = nginx.count("\nserver {")
    assert nginx.count("access_log /var/log/nginx/livechat.log livechat;") == servers == 2
    form = re.search(r"log_format livechat (.*?);\n", nginx, re.DOTALL)
    assert form
    assert "$uri" in form[1]
    assert not re.search(r"\$(request|request_uri|args|query_string|http_referer)\b", form[1])


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::5", "2001:db8:0:1:"),
        ("2001:db8:0:1:9:8:7:6", "2001:db8:0:1:"),
        ("2001:db8::1", "2001:db8"),
        ("::1", "::1"),
    ],
)
def test_the_proxy_counts_an_ipv6_network_as_one(nginx: str, address: str, network: str) -> None:
    """The patterns of the map, tried in nginx's order; they mean the same in Python."""
    block = re.search(r"map \$remote_addr \$livechat_network \{(.*?)\n\}", nginx, re.DOTALL)
    assert block
    found = address
    for pattern, value in re.findall(r'"~(.*?)"\s+\$(\w+);', block[1]):
        match = re.search(pattern.replace("(?<", "(?P<"), address)
        if match:
            found = match.groupdict().get(value, address)
            break
    assert found == network
