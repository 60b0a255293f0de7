"""The joints of Fleet Live Queries: settings, addresses, the queue. And the ground of all apps: errors, texts, audit.

Decides nothing about campaigns.
"""
