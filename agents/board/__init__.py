"""The board: open work in Redis. Keys (`keyspace`), scripts (`lua/`), bitmaps, the gateways' copy, both sides' verbs.

Here a campaign is a number, SQL and bitmaps; whose they are is never asked, and no model is read. Looks into
`agents.protocol` alone.
"""
