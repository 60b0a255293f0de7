"""From the stream into Postgres: in order and exactly once, a batch and the cursor in one transaction.

Never talks to agents or viewers; it rings the doorbell. Looks into no other room of this app.
"""
