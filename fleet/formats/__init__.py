"""How texts of the server write moments, by language; Django looks them up here."""
