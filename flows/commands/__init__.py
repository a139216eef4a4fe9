"""Subcommands of ``winnow``, one module each: ``add_parser(subparsers)`` and ``run(args) -> exit status``."""
