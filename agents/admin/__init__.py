"""The back room of hosts: facts that hosts told are read-only; people keep labels and enroll secrets, and revoke.

Importing it registers the pages. Never holds a rule that an API or page would need too.
"""

from agents.admin import carves, enrolling, hosts, housekeeping, labels  # noqa: F401 - they register themselves
