"""Data sets from other tools' files, from large scenes, from the web, or drawn."""
