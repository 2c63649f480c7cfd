"""Products of many files, recognised by their own metadata: each becomes one scene."""
