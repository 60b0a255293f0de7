"""Campaigns: who is meant, how far it goes, when it ends, what was answered, and the people who watch."""
