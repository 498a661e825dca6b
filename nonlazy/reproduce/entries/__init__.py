"""One module an entry: its settings are in the file of the same name in `settings`."""
