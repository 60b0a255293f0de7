"""The joints of Fleet Live Queries: settings, addresses, the queue, Redis' keys. Decides nothing about campaigns."""
