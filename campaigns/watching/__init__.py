"""Viewers' sockets: one reader per process and campaign serves them all, by cursor.

Never holds an answer that is not in Postgres. Looks into `campaigns.answers`.
"""
