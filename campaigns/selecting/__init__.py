"""Who is meant: the selection of hosts, those of an earlier campaign, and which of them can run the SQL.

Never writes anything. Looks into `campaigns.answers`, for the groups of earlier ones.
"""
