"""Pretend osquery hosts: the agents' side of the protocol, with SQL executed for real over simulated or real tables.

Plain asyncio and psutil; nothing here imports Django, so that thousands of hosts fit into one small process.
The front door is `agents.simulator.crowd.Crowd`.
"""
