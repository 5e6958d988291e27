"""What the commands of the command line do, one file per theme; `search/cli` imports a command when it runs."""
