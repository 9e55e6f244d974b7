"""Who may come in, by whatever way, and what for: credentials, devices, scopes, origins, the counting of guesses."""
