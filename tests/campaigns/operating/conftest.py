"""A gateway on a real port, for what operators ask of it."""

from tests.agents.wire.conftest import plain, wire

__all__ = ["plain", "wire"]
