"""The main window: what it is made of, menus and keys, settings, tools of their own."""
