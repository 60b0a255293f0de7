"""What osquery agents say and hear: the words of their TLS protocol as pure functions, and the keys they show.

Never does I/O and never decides about work. Looks into no other room.
"""
