"""The command line, one file per subcommand; each is also what a script in tools/ runs."""
