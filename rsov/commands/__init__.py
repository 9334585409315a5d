"""One file per subcommand: options in, one call, what is printed. No logic."""
