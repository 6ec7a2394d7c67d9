"""The checks, a module for each suite. A check added here is found by arena_install.verify.registry.load."""
