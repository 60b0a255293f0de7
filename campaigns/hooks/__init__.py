"""Tells programs and people elsewhere what becomes of campaigns: signed hooks, notifications, each try on record.

An event is a row, written by a trigger in the transaction that makes it so (`campaigns/migrations/0019_hooks.sql`);
nothing here is in the way of a campaign. Never tells rows, and never more than the owner of a hook may see. Looks
into `campaigns.launching` and `campaigns.answers`.
"""
