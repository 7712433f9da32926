"""The command line `etn-gpu`: one file per command, nothing heavy loaded before a command runs."""
