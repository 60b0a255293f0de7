"""Hosts and the osquery protocol. Knows nothing of campaigns: to this side they are numbers on the board."""
