"""What every view of the API shares: who is asking, how errors read, how lists are paged."""
