"""The commands of the command line, one file a theme; each imports what it needs when it runs."""
