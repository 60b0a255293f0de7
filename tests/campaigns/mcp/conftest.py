"""A console as it is deployed, and the SDK's own client."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from django.db import connection
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.agents.wire.conftest import GatewayProcess
from tests.campaigns.mcp.world import CANARY_ABOVE, NEW, Connect, World


@pytest.fixture(scope="module")
def address(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a console in a process of its own, on the tests' database; give its address."""
    server, _, options = os.environ["DATABASE_URL"].partition("?")
    url = f"{server.rpartition('/')[0]}/{connection.settings_dict['NAME']}?{options}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "MCP_CANARY_ABOVE": str(CANARY_ABOVE),
        "ALLOWED_HOSTS": "localhost",
    }
    console = GatewayProcess(tmp_path_factory.mktemp("mcp") / "console.log", environment, "console")
    yield f"http://localhost:{console.port}/mcp"
    console.stop()


@pytest.fixture
def connect(address: str) -> Connect:
    """Give a client that shows a token."""

    @asynccontextmanager
    async def connected(token: str, mode: str = NEW) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(address, http_client=http), mode=mode) as client,
        ):
            yield client

    return connected


@pytest.fixture
def world() -> World:
    return World()
